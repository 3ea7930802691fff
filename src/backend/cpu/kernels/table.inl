// The table of one instruction set. Included last by isa_<isa>.cc inside namespace minicpm::cpu::<isa>.

#ifndef MINICPM_HALF_ATTENTION
#define MINICPM_HALF_ATTENTION  // none
#endif

const KernelTable kKernels = {
    .lanes = kLanes,
    .tile_rows = kTileRows,
    .tile_vectors = kTileVectors,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .add = add,
    .add_scaled = add_scaled,
    .scale = scale,
    .gelu_tanh = gelu_tanh_inplace,
    .gelu_erf = gelu_erf_inplace,
    .silu_mul = silu_mul,
    .rope_halves = rope_halves,
    .rope_neighbours = rope_neighbours,
    .f16_to_f32 = f16_to_f32,
    .f32_to_f16 = f32_to_f16,
    .bf16_to_f32 = bf16_to_f32,
    .f32_to_bf16 = f32_to_bf16,
    .attend = attend,
    MINICPM_HALF_ATTENTION
    .rows_to_lanes = rows_to_lanes,
    .lanes_to_rows = lanes_to_rows,
    .scores_f32 = score_rows<float>,
    .scores_f16 = score_rows<uint16_t>,
    .exp2_row = exp2_row,
    .add_values_f32 = add_value_rows<float>,
    .add_values_f16 = add_value_rows<uint16_t>,
};
