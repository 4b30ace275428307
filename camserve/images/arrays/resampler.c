/* Pixels resampled with weights of 16 bits, columns first and then rows: what resampling.py does with numpy, bit for bit.

   No state, no allocation; any number of threads. For x86-64 with AVX2 only: ask `can_resample` first. Every sum is
   exact, so its order does not matter. */

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

int can_resample(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0;
}

/* A sum as a byte: rounded half up after `bits` binary places, and cut to 0..255. */
static inline __attribute__((target("avx2"))) __m256i scaled(__m256i sum, int bits) {
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << (bits - 1))), bits);
}

/* rows x width pixels of `bytes` bytes, 3 or 4, -> rows x out of 3 bytes. Output i takes 4 * fours[i] pixels from first[i]
   on, by the weights at weights + 4 * most * i, which are 0 for pixels that it has no need of. room: bytes * width + 64
   bytes, where a row has zeros behind it. */
__attribute__((target("avx2"))) void resample_columns(const uint8_t *from, int64_t rows, int64_t width, int64_t bytes,
                                                      uint8_t *to, int64_t out, const int32_t *first,
                                                      const int32_t *fours, const int16_t *weights, int64_t most,
                                                      int bits, uint8_t *room) {
    /* of four pixels the colours in pairs, as numbers of 16 bits: r0 r1 g0 g1 b0 b1, r2 r3 g2 g3 b2 b3 */
    const __m256i of_three = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                                              -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i of_four = _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, -1, -1, -1, -1, 8, -1, 12, -1, 9,
                                             -1, 13, -1, 10, -1, 14, -1, -1, -1, -1, -1);
    const __m256i pairs = bytes == 3 ? of_three : of_four;
    const __m256i spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    memset(room + bytes * width, 0, 64);
    for (int64_t row = 0; row < rows; row++, from += bytes * width, to += 3 * out) {
        memcpy(room, from, (size_t)(bytes * width));
        for (int64_t i = 0; i < out; i++) {
            const uint8_t *pixel = room + bytes * first[i];
            const int16_t *weight = weights + 4 * most * i;
            __m256i sum = _mm256_setzero_si256();
            for (int32_t four = 0; four < fours[i]; four++, pixel += 4 * bytes, weight += 4) {
                __m256i colours = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)pixel));
                __m256i shares = _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)weight));
                shares = _mm256_permutevar8x32_epi32(shares, spread);
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(colours, pairs), shares));
            }
            __m128i both = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
            both = _mm256_castsi256_si128(scaled(_mm256_castsi128_si256(both), bits));
            both = _mm_packs_epi32(both, both);
            int32_t colour = _mm_cvtsi128_si32(_mm_packus_epi16(both, both));
            memcpy(to + 3 * i, &colour, 3);
        }
    }
}

/* Lines of `length` bytes -> `out` lines. Output i takes 2 * twos[i] lines from first[i] on, by the weights at
   weights + 2 * most * i; of a line after `lines` the weight is 0. */
__attribute__((target("avx2"))) void resample_rows(const uint8_t *from, int64_t lines, int64_t length, uint8_t *to,
                                                   int64_t out, const int32_t *first, const int32_t *twos,
                                                   const int16_t *weights, int64_t most, int bits) {
    for (int64_t i = 0; i < out; i++, to += length) {
        const int16_t *weight = weights + 2 * most * i;
        int64_t x = 0;
        for (; x + 16 <= length; x += 16) {
            __m256i low = _mm256_setzero_si256(), high = low;
            for (int32_t two = 0; two < twos[i]; two++) {
                int64_t line = first[i] + 2 * two, next = line + 1 < lines ? line + 1 : line;
                int32_t share;
                memcpy(&share, weight + 2 * two, 4);
                __m256i shares = _mm256_set1_epi32(share);
                __m256i one = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(from + line * length + x)));
                __m256i other = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(from + next * length + x)));
                low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(one, other), shares));
                high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(one, other), shares));
            }
            __m256i words = _mm256_packs_epi32(scaled(low, bits), scaled(high, bits));
            __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
            _mm_storeu_si128((__m128i *)(to + x), bytes);
        }
        for (; x < length; x++) {
            int32_t sum = 1 << (bits - 1);
            for (int32_t tap = 0; tap < 2 * twos[i]; tap++) {
                int64_t line = first[i] + tap < lines ? first[i] + tap : lines - 1;
                sum += weight[tap] * from[line * length + x];
            }
            sum >>= bits;
            to[x] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
        }
    }
}

#else
int can_resample(void) { return 0; }
#endif
