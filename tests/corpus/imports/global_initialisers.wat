;;! Globals and data segments that begin where imported globals say.
;;! global "mine" => (i64 1099511627776)
;;! global "half" => (f64 0.5)
;;! memory 14 => 00 00 68 69 00 00
;;! invoke "change" => (i64 1)
;;! global "mine" => (i64 1)
(module
  (import "host" "base" (global $base i32))
  (import "host" "limit" (global $limit i64))
  (import "host" "ratio" (global $ratio f64))
  (global $mine (export "mine") (mut i64) (global.get $limit))
  (global (export "half") f64 (global.get $ratio))
  (memory (export "memory") 1)
  (data (global.get $base) "hi")
  (func (export "change") (result i64)
    (global.set $mine (i64.div_u (global.get $mine) (global.get $limit)))
    (global.get $mine)))
