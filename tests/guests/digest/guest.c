// SHA-256 over blocks that come from the host, and a sort that compares through a function pointer. C without a library.

#include <stddef.h>
#include <stdint.h>

#ifdef __wasm__
#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("host"), import_name(#name)))
#else
#define EXPORT(name)
#define IMPORT(name)
#endif

IMPORT(next) uint32_t next(uint32_t x);
IMPORT(fill) void fill(uint8_t *to, uint32_t length, uint32_t seed);

struct sha256 {
    uint32_t state[8];
    uint8_t block[64];
    uint64_t length;
};

static const uint32_t rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotated(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void compress(struct sha256 *sha) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        const uint8_t *at = sha->block + 4 * i;
        w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + w[i - 7] +
               (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
    }
    uint32_t s[8];
    for (int i = 0; i < 8; i++) s[i] = sha->state[i];
    for (int i = 0; i < 64; i++) {
        uint32_t one = rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25);
        uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t a = s[7] + one + choice + rounds[i] + w[i];
        uint32_t zero = rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22);
        uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        for (int j = 7; j > 0; j--) s[j] = s[j - 1];
        s[4] += a;
        s[0] = a + zero + majority;
    }
    for (int i = 0; i < 8; i++) sha->state[i] += s[i];
}

static struct sha256 begun(void) {
    return (struct sha256){{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                            0x1f83d9ab, 0x5be0cd19}};
}

static void add(struct sha256 *sha, uint8_t byte) {
    sha->block[sha->length++ % 64] = byte;
    if (sha->length % 64 == 0) compress(sha);
}

static uint64_t finished(struct sha256 *sha) {
    uint64_t bits = 8 * sha->length;
    add(sha, 0x80);
    while (sha->length % 64 != 56) add(sha, 0);
    for (int i = 7; i >= 0; i--) add(sha, (uint8_t)(bits >> 8 * i));
    return (uint64_t)sha->state[0] << 32 | sha->state[1];
}

// The first eight bytes of the digest of the letters a, b, c, ... : of "abc" for 3.
EXPORT(letters) uint64_t letters(uint32_t n) {
    struct sha256 sha = begun();
    for (uint32_t i = 0; i < n; i++) add(&sha, (uint8_t)('a' + i % 26));
    return finished(&sha);
}

// The first eight bytes of the digest of n packets. The state and the packet, whose address the host has, are on the stack
// while the guest waits.
EXPORT(packets) uint64_t packets(uint32_t n) {
    struct sha256 sha = begun();
    for (uint32_t i = 0; i < n; i++) {
        uint8_t packet[50];
        fill(packet, sizeof packet, i);
        for (size_t j = 0; j < sizeof packet; j++) add(&sha, packet[j]);
    }
    return finished(&sha);
}

struct item {
    uint32_t key;
    double weight;
};

typedef int (*compare)(const struct item *, const struct item *);

static int by_key(const struct item *a, const struct item *b) {
    return a->key < b->key ? -1 : a->key > b->key;
}

static int by_weight(const struct item *a, const struct item *b) {
    return a->weight < b->weight ? -1 : a->weight > b->weight;
}

static int by_digits(const struct item *a, const struct item *b) {
    uint32_t x = a->key % 1000, y = b->key % 1000;
    return x != y ? (x < y ? -1 : 1) : by_key(a, b);
}

static compare comparisons[] = {by_key, by_weight, by_digits};

static void sort(struct item *items, int n, compare compare) {
    for (int gap = n / 2; gap > 0; gap /= 2)
        for (int i = gap; i < n; i++) {
            struct item item = items[i];
            int j = i;
            for (; j >= gap && compare(&item, &items[j - gap]) < 0; j -= gap) items[j] = items[j - gap];
            items[j] = item;
        }
}

// Sorts n items (at most 64) from the host in three orders, each through its function pointer.
EXPORT(sorted) uint64_t sorted(uint32_t n) {
    struct item items[64];
    if (n > 64) n = 64;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = next(i);
        items[i] = (struct item){key, (double)(key ^ 0x5555) / (1 + key % 7)};
    }
    uint64_t sum = 0;
    for (uint32_t order = 0; order < 3; order++) {
        sort(items, (int)n, comparisons[(order + n) % 3]);
        for (uint32_t i = 0; i < n; i++) sum = sum * 1000003 + items[i].key + (uint64_t)items[i].weight;
    }
    return sum;
}
