/* What is of another version than the header that this is compiled with. */
#ifndef CONFIG_H
#define CONFIG_H

#include "double.h"

#define API_WORD(major, minor) ((uint32_t)(major) | (uint32_t)(minor) << 24)
/* From here on structs have the versions that they still have. */
#define NEW_API 0x0c02

#if NVENCAPI_MAJOR_VERSION < 12
static const GUID NV_ENC_CODEC_AV1_GUID = {0x0a352289, 0x0aa7, 0x4759, {0x86, 0x2d, 0x5d, 0x15, 0xcd, 0x16, 0xd2, 0x54}};
/* Fields of 12.2 that lie in what 11.1 keeps in reserve. */
#define H264_OUTPUT_DEPTH(c) ((c)->reserved1[0])
#define HEVC_FILTER(c) ((c)->reserved1[0])
#define HEVC_OUTPUT_DEPTH(c) ((c)->reserved1[2])
struct av1_config {
    uint32_t level, tier, min_part, max_part;
    uint32_t annex_b : 1, timing : 1, decoder_model : 1, frame_ids : 1, disable_header : 1, repeatSeqHdr : 1, enableIntraRefresh : 1, chromaFormatIDC : 2, rest : 23;
    uint32_t idrPeriod, intraRefreshPeriod, intraRefreshCnt, maxNumRefFramesInDPB, numTileColumns, numTileRows, reserved2;
    void *widths, *heights;
    uint32_t layers, colorPrimaries, transferCharacteristics, matrixCoefficients, colorRange, chroma_position, useBFramesAsRef;
    void *grain;
    uint32_t forward, backward, outputBitDepth, inputBitDepth;
};
#define AV1(config) ((struct av1_config *)&(config)->encodeCodecConfig)
/* The first bit of what 11.1 has in reserve. */
#define HEVC_RECOVERY(c) ((c)->reserved & 1)
#else
#define H264_OUTPUT_DEPTH(c) ((c)->outputBitDepth)
#define HEVC_FILTER(c) ((c)->tfLevel)
#define HEVC_OUTPUT_DEPTH(c) ((c)->outputBitDepth)
#define AV1(config) (&(config)->encodeCodecConfig.av1Config)
#define HEVC_RECOVERY(c) ((c)->outputRecoveryPointSEI)
#endif

/* The flags of a NV_ENC_RECONFIGURE_PARAMS follow a struct that was 8 octets longer before. */
#define RESET_FLAGS(params, api) (*(const uint32_t *)((const char *)&(params)->reInitEncodeParams + (is_new(api) ? 1800 : 1808)))

/* config.c */
bool is_new(uint32_t api);
bool right_version(uint32_t word, uint32_t api, int before, int now, bool outer_before, bool outer_now, const char *name);
bool codec_of(GUID guid, enum codec *codec);
GUID guid_of(enum codec codec);
bool same_guid(GUID a, GUID b);
void fill_preset(NV_ENC_CONFIG *config, enum codec codec, int tuning);
/* Reports a configuration, and what in it breaks a rule. */
void check_config(const char *call, const NV_ENC_INITIALIZE_PARAMS *init, enum codec codec, bool reset);
uint32_t idr_period(NV_ENC_CONFIG *config, enum codec codec);
uint32_t slice_count(NV_ENC_CONFIG *config, enum codec codec);

#endif
