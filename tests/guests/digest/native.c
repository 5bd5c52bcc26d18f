// The same program compiled for the host: writes what it answers to the file of that name.

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

uint64_t letters(uint32_t n);
uint64_t packets(uint32_t n);
uint64_t sorted(uint32_t n);

// As the host module in tests/guests/mod.rs.
uint32_t next(uint32_t x) {
    uint32_t z = x * 0x9e3779b9u + 0x85ebca6bu;
    z = (z ^ z >> 15) * 0x2c1b3c6du;
    z = (z ^ z >> 12) * 0x297a2d39u;
    return z ^ z >> 15;
}

void fill(uint8_t *to, uint32_t length, uint32_t seed) {
    for (uint32_t n = 0; n < length; n++) to[n] = (uint8_t)(next(seed * 1000 + n) >> 8);
}

int main(int count, char **names) {
    FILE *out = count == 2 ? fopen(names[1], "w") : NULL;
    if (!out) return 1;
    fprintf(out, "# export, argument, answer: made by `cargo xtask guests` from a native build of guest.c\n");
    static const struct {
        const char *name;
        uint64_t (*function)(uint32_t);
        uint32_t arguments[4];
    } exports[] = {
        {"letters", letters, {0, 3, 64, 5000}},
        {"packets", packets, {1, 3, 8, 300}},
        {"sorted", sorted, {2, 3, 16, 64}},
    };
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) {
            uint32_t argument = exports[i].arguments[j];
            fprintf(out, "%s %u %016" PRIx64 "\n", exports[i].name, argument, exports[i].function(argument));
        }
    return fclose(out) != 0;
}
