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
    .attend = attend,
    MINICPM_HALF_ATTENTION
    .rows_to_lanes = rows_to_lanes,
    .lanes_to_rows = lanes_to_rows,
    .exp2_row = exp2_row,
    .cache_f32 = {write_rows<RowsF32>, read_rows<RowsF32>, score_rows<RowsF32>, add_value_rows<RowsF32>},
    .cache_f16 = {write_rows<RowsF16>, read_rows<RowsF16>, score_rows<RowsF16>, add_value_rows<RowsF16>},
    .cache_bf16 = {write_rows<RowsBf16>, read_rows<RowsBf16>, score_rows<RowsBf16>, add_value_rows<RowsBf16>},
    .cache_q8_0 = {write_rows_q8_0, read_rows<RowsQ8_0>, score_rows<RowsQ8_0>, add_value_rows<RowsQ8_0>},
};
