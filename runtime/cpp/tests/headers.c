/* runtime.h is C99, and its macros are constant expressions. */
#include "dsunet/runtime.h"

static const dsunet_options kOptions = DSUNET_OPTIONS_INIT;
static const dsunet_description kDescription = DSUNET_DESCRIPTION_INIT;
static const dsunet_frame kFrame = DSUNET_FRAME_INIT;
static const dsunet_mask kMask = DSUNET_MASK_INIT;
static const dsunet_selftest_result kResult = DSUNET_SELFTEST_RESULT_INIT;

size_t sum_of_sizes(void);
size_t sum_of_sizes(void) {
  return kOptions.struct_size + kDescription.struct_size + kFrame.struct_size + kMask.struct_size +
         kResult.struct_size;
}
