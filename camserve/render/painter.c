/* The overlay, row by row: what camserve/render/painting.py does with numpy and Pillow, bit for bit.

   native_painter.py calls it and says when; the numpy path is its oracle in tests/render/test_native_painter.py. Floats
   are those of numpy, so contraction to fused operations must be off (-ffp-contract=off). No state, no allocation, any
   number of threads on canvases of their own.

   A pixel is 4 bytes: R, G, B and one that nobody reads. Lines of float32 lie `width` apart. */

#include <float.h>
#include <stdint.h>
#include <string.h>

#if defined(MANY_PROCESSORS)
#define EACH __attribute__((target_clones("avx2", "default")))
#else
#define EACH
#endif

#if FLT_EVAL_METHOD != 0
#error "this machine computes float in more digits than numpy keeps"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pixels are read as numbers whose lowest byte is red"
#endif

#define TEXTURE 0.8f

/* Values (count, width) to be laid over rows: row r lies `share[r]` beyond the value `before[r]`. Without a share, row r
   is the value r. */
typedef struct {
    const float *values;
    const int32_t *before;
    const float *share;
    int64_t count;
} Laid;

/* Luminance, rounded as Pillow's convert("L"). */
static inline int32_t luminance(uint32_t pixel) {
    return (int32_t)(((pixel & 255) * 19595u + (pixel >> 8 & 255) * 38470u + (pixel >> 16 & 255) * 7471u + 0x8000u) >> 16);
}

static inline int32_t within(int32_t value) {
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

EACH static void lay(Laid laid, int64_t row, int64_t width, float *out) {
    if (!laid.share) {
        memcpy(out, laid.values + row * width, (size_t)width * sizeof(float));
        return;
    }
    int64_t before = laid.before[row], after = before + 1 < laid.count ? before + 1 : before;
    const float *low = laid.values + before * width, *high = laid.values + after * width;
    float share = laid.share[row];
    for (int64_t x = 0; x < width; x++) out[x] = (high[x] - low[x]) * share + low[x];
}

/* Heat 0..1, signed -1..1, as levels 0..255; unseen as 0. Whether all of it is a number. */
EACH static int to_levels(const float *heat, int64_t width, int is_signed, int32_t *levels) {
    int32_t unseen = 0;
    for (int64_t x = 0; x < width; x++) {
        float value = heat[x];
        unseen |= value != value;
        if (is_signed) value = ((value + 1.0f) * 128.0f - 0.5f) / 255.0f;
        value = value * 255.0f + 0.5f;
        value = value >= 0.0f ? value : 0.0f;
        value = value <= 255.0f ? value : 255.0f;
        levels[x] = (int32_t)value;
    }
    return !unseen;
}

/* `ink`: R, G, B and opacity. Blended as Pillow's paste does. */
EACH static void blend(uint32_t *pixels, const uint32_t *inks, const float *around, int64_t width) {
    for (int64_t x = 0; x < width; x++) {
        uint32_t pixel = pixels[x], ink = inks[x], cover = ink >> 24, rest = 255 - cover;
        float contrast = (around[x] - (float)luminance(pixel)) * -TEXTURE + 128.5f;
        contrast = contrast >= 0.0f ? contrast : 0.0f;
        contrast = contrast <= 255.0f ? contrast : 255.0f;
        int32_t texture = (int32_t)contrast - 128;
        uint32_t red = (uint32_t)within((int32_t)(ink & 255) + texture);
        uint32_t green = (uint32_t)within((int32_t)(ink >> 8 & 255) + texture);
        uint32_t blue = (uint32_t)within((int32_t)(ink >> 16 & 255) + texture);
        /* two colours at once, 16 bits for each: no product reaches 2^16 */
        uint32_t odd = (pixel & 0xff00ff) * rest + (red | blue << 16) * cover + 0x800080;
        uint32_t even = (pixel >> 8 & 0xff) * rest + green * cover + 0x80;
        odd = (((odd >> 8 & 0xff00ff) + odd) >> 8) & 0xff00ff;
        even = (((even >> 8) + even) >> 8) & 0xff;
        pixels[x] = odd | even << 8 | 0xff000000;
    }
}

/* Paints `rows` rows. canvas: their pixels. inks: of each level. veil: the grey of each luminance where nothing was seen.
   room: 2 * width floats and 2 * width numbers of 32 bits. Whether everything was seen. */
int paint_rows(uint32_t *canvas, int64_t width, int64_t rows, Laid *heat, Laid *around, int is_signed,
               const uint32_t *inks, const uint8_t *veil, float *room) {
    float *warmth = room, *mean = room + width;
    int32_t *levels = (int32_t *)(room + 2 * width);
    uint32_t *wet = (uint32_t *)(room + 3 * width);
    int all_seen = 1;
    for (int64_t row = 0; row < rows; row++, canvas += width) {
        lay(*heat, row, width, warmth);
        int seen = to_levels(warmth, width, is_signed, levels);
        int64_t first = width, last = 0; /* most of a photograph is cold, and stays as it is */
        for (int64_t x = 0; x < width; x++) {
            wet[x] = inks[levels[x]];
        }
        for (first = 0; first < width && !(wet[first] >> 24); first++) {}
        for (last = width; last > first && !(wet[last - 1] >> 24); last--) {}
        if (!seen) {
            for (int64_t x = 0; x < width; x++)
                if (warmth[x] != warmth[x]) canvas[x] = veil[luminance(canvas[x])] * 0x010101u | 0xff000000;
            for (int64_t x = first; x < last; x++)
                if (warmth[x] != warmth[x]) wet[x] &= 0xffffff;
            all_seen = 0;
        }
        if (first < last) {
            lay(*around, row, width, mean);
            blend(canvas + first, wet + first, mean + first, last - first);
        }
    }
    return all_seen;
}

static void widen_row(const uint8_t *from, uint32_t *to, int64_t width) {
    for (int64_t x = 0; x < width - 1; x++) {
        uint32_t pixel; /* and the first byte of the next */
        memcpy(&pixel, from + 3 * x, 4);
        to[x] = pixel | 0xff000000;
    }
    const uint8_t *last = from + 3 * (width - 1);
    to[width - 1] = last[0] | last[1] << 8 | last[2] << 16 | 0xff000000;
}

EACH static void add_row(const uint8_t *from, uint16_t *sums, int64_t count) {
    for (int64_t i = 0; i < count; i++) sums[i] += from[i];
}

/* Pixels of 3 bytes as pixels of 4, and the sum of each colour over blocks of block x block pixels, the last of which may
   be cut. sums: 3 for each block, 0 before. room: 3 * width numbers. */
void start_canvas(const uint8_t *from, uint32_t *to, int64_t width, int64_t height, int64_t block, uint32_t *sums,
                  uint16_t *room) {
    int64_t across = (width + block - 1) / block, some = block < 256 ? block : 256; /* rows whose sums fit 16 bits */
    for (int64_t top = 0; top < height; top += some) {
        int64_t bottom = top + some < height ? top + some : height;
        memset(room, 0, (size_t)(3 * width) * sizeof(uint16_t));
        for (int64_t y = top; y < bottom; y++) {
            widen_row(from + 3 * width * y, to + width * y, width);
            add_row(from + 3 * width * y, room, 3 * width);
        }
        uint32_t *line = sums + top / block * across * 3;
        for (int64_t x = 0; x < width; x++) {
            uint32_t *sum = line + x / block * 3;
            for (int64_t c = 0; c < 3; c++) sum[c] += room[3 * x + c];
        }
    }
}
