"""HLO text as XLA prints it for a CPU and for a GPU."""

import pytest

from kmtard.benchmarks import hlo

pytestmark = pytest.mark.once("torch")

LOOP = """
HloModule jit_step, is_scheduled=true

%fused (param_0: f32[4,512], param_1: f32[512,10]) -> f32[4,10] {
  %param_0 = f32[4,512]{1,0} parameter(0)
  %param_1 = f32[512,10]{1,0} parameter(1)
  ROOT %dot.1 = f32[4,10]{1,0} dot(%param_0, %param_1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (t: (s32[], f32[4,512])) -> (s32[], f32[4,512]) {
  %t = (s32[], f32[4,512]{1,0}) parameter(0)
  %x = f32[4,512]{1,0} get-tuple-element(%t), index=1
  %w = f32[512,10]{1,0} constant({...})
  %f = f32[4,10]{1,0} fusion(%x, %w), kind=kOutput, calls=%fused
  ROOT %r = (s32[], /*index=1*/f32[4,512]{1,0}) tuple(%t, %x)
}

%condition (t.1: (s32[], f32[4,512])) -> pred[] {
  ROOT %c = pred[] constant(true)
}

ENTRY %main (a: f32[4,512]) -> (s32[], f32[4,512]) {
  %a = f32[4,512]{1,0} parameter(0)
  %start = (s32[], f32[4,512]{1,0}) tuple(%a, %a)
  ROOT %while = (s32[], f32[4,512]{1,0}) while(%start), condition=%condition, body=%body, TRIPS
}
"""  # noqa: E501
KNOWN = 'backend_config={"known_trip_count":{"n":"10"},"known_init_step":{}}'


def entry(*lines):
    return "\n".join(["ENTRY %main (a: f32[1]) -> f32[1] {", *lines, "}"])


def test_body_counts_as_often_as_it_runs():
    program = hlo.read(LOOP.replace("TRIPS", KNOWN))
    assert program == hlo.Program(10 * 2 * 4 * 512 * 10, host=(), endless=0)


def test_unknown_length_is_told():
    program = hlo.read(LOOP.replace(", TRIPS", ""))
    assert (program.flops, program.endless) == (2 * 4 * 512 * 10, 1)


FORWARD = 2 * (4 * 4 * 4 * 32) * (3 * 3 * 16)


@pytest.mark.parametrize(
    ("operands", "instruction"),
    [
        (
            ("f32[4,8,8,16]", "f32[3,3,16,32]"),
            "f32[4,4,4,32]{3,2,1,0} convolution(%x, %y), window={size=3x3 stride=2x2 "
            "pad=1_1x1_1}, dim_labels=b01f_01io->b01f",
        ),
        (
            # On an image that was padded first.
            ("f32[4,4,4,32]", "f32[3,3,32,16]"),
            "f32[4,10,10,16]{3,2,1,0} convolution(%x, %y), window={size=3x3 "
            "pad=2_3x2_3 lhs_dilate=2x2}, dim_labels=b01f_01io->b01f",
        ),
        (
            ("f32[16,8,8,4]", "f32[4,4,4,32]"),
            "f32[16,3,3,32]{3,2,1,0} convolution(%x, %y), window={size=4x4 "
            "pad=0_-1x0_-1 rhs_dilate=2x2}, dim_labels=b01f_01io->b01f",
        ),
        (
            ("bf16[4,16,8,8]", "bf16[32,16,3,3]"),
            "(bf16[4,32,4,4]{1,3,2,0}, u8[0]{0}) custom-call(%x, %y), "
            "window={size=3x3 stride=2x2 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01, "
            'custom_call_target="__cudnn$convForward"',
        ),
        (
            ("bf16[4,32,4,4]", "bf16[32,16,3,3]"),
            "(bf16[4,16,8,8]{1,3,2,0}, u8[0]{0}) custom-call(%x, %y), "
            "window={size=3x3 stride=2x2 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01, "
            'custom_call_target="__cudnn$convBackwardInput"',
        ),
        (
            ("bf16[4,16,8,8]", "bf16[4,32,4,4]"),
            "(bf16[32,16,3,3]{1,3,2,0}, u8[0]{0}) custom-call(%x, %y), "
            "window={size=3x3 stride=2x2 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01, "
            'custom_call_target="__cudnn$convBackwardFilter"',
        ),
        (
            ("f32[64,144]", "f32[144,32]"),
            "(f32[64,32]{1,0}, s8[4194304]{0}) custom-call(%x, %y), "
            'custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":'
            '{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],'
            '"rhs_contracting_dimensions":["0"]}}}',
        ),
    ],
    ids=[
        "convolution",
        "at the input",
        "at the kernel",
        "cudnn",
        "cudnn at the input",
        "cudnn at the kernel",
        "cublas",
    ],
)
def test_each_direction_of_a_convolution_counts_the_same(operands, instruction):
    x, y = operands
    text = entry(
        f"  %x = {x}{{0}} parameter(0)",
        f"  %y = {y}{{0}} parameter(1)",
        f"  ROOT %z = {instruction}",
    )
    assert hlo.read(text).flops == FORWARD


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (
            '  ROOT %c = f32[] custom-call(%x), custom_call_target="xla_ffi_python_gpu_'
            'callback"',
            "xla_ffi_python_gpu_callback",
        ),
        ("  %o = token[] outfeed(%x, %t), outfeed_shape=f32[]", "outfeed"),
        ("  %s = (f32[4]{0}, u32[], token[]) send(%x, %t), channel_id=1", "send"),
        (
            "  %h = f32[4]{0:T(128)S(5)} copy(%x)",
            "copy in host memory",
        ),
    ],
)
def test_what_meets_the_host_is_named(line, named):
    assert hlo.read(entry(line)).host == (named,)


def test_other_text_is_refused():
    with pytest.raises(ValueError, match="ENTRY computation. Received: 'no program'"):
        hlo.read("no program")
