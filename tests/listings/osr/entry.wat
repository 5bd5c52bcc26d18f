;; OSR code takes over a tier-0 frame: it reads the homes once.
;;! tier = osr
;;! sections = entry block0 block1
(module
  (func (export "sum") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (local.get 0)))
      (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
    (local.get 1)))

;; osr@0x24 sum: frame 64, code 328
;; entry:
;;   lea rsp, [rbp+frame_end]                      ; the tier-0 frame stays; room was checked
;; block0:
;;   mov rsi, [rbp+local0]
;;   mov rax, [rbp+local1]
;; ...
;; site0 @0x24: image of 2 words; local0=image0 local1=image1
