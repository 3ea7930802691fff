// The table of one instruction set. Included last by isa_<isa>.cc inside namespace minicpm::cpu::<isa>.

const KernelTable kKernels = {
    .lanes = kLanes,
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
};
