"""Names of systems, models, formats and layouts as people write them: right, or refused for what is
true. A memory size, a model's size and a number format that a name states are never dropped."""

from __future__ import annotations

import pytest

from tokenfleet.backtest import published
from tokenfleet.catalog import load_catalog, names
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.schema.formats import format_named

SYSTEMS = {
    "h100_sxm_8": """8xH100 | HGX H100 SXM5 | 8 x H100 | 8 H100 | 8*H100 | 8×H100
        | H100 x 8 | H100-8 | NVIDIA HGX H100 8-GPU | DGX H100 640GB | 80GB H100 | H100-80
        | H100 SXM 80 | h100_sxm_8 | H100 80 gigabytes | a3-highgpu-8g | a3-megagpu-8g
        | Standard_ND96isr_H100_v5 | BM.GPU.H100.8 | ND H100 v5""",
    "h200_sxm_8": "H200-141GB | p5en.48xlarge | p5e.48xlarge | a3-ultragpu-8g",
    "h100_pcie_8": "H100-PCIE-80GB | NVIDIA H100 PCIe 80GB",
    "a100_sxm_8": "A100 8x80GB | DGX A100 640GB | p4de.24xlarge | a2-ultragpu-8g | A100-SXM4-80GB",
    "a100_pcie_8": "A100 80GB PCIe",
    "b200_sxm_8": "p6-b200.48xlarge | a4-highgpu-8g | B200-SXM-192GB",
    "gb200_nvl72": "GB200 NVL72 | NVIDIA GB200 (aarch64) | ND GB200 v6",
    "vr200_nvl72": "Vera Rubin NVL72 | VR200",
    "l40s_8": "L40S 48GB | L40S-48 | g6e.48xlarge",
    "l4_8": "4xL4 | g6.12xlarge | g2-standard-96",
    "rtx_pro_6000_se_8": "RTX PRO 6000 | RTX-PRO-6000-96GB",
    "mi300x_8": "MI300X-192G | Standard_ND96isr_MI300X_v5 | MI300X-8",
    "mi355x_8": "MI355 | MI355X 288GB x8",
    "gaudi3_8": "Gaudi 3 | Intel Gaudi 3 HL-325L",
    "tpu_v5e_8": "v5e-256 | tpu-v5-lite | v5litepod-16",
    "tpu7x_64": "TPU v7 | TPUv7 | TPU7x",
    "trn2_ultra64": "Trn2 UltraServer | trn2u.48xlarge",
    "inf2_12": "Inferentia2 | inf2.48xlarge",
}
OTHER_MEMORY = """A100 40GB PCIe | 40GB A100 | A100-40 | A100 SXM 40 | A100 8x40GB | DGX A100 320GB
    | p4d.24xlarge | a2-highgpu-8g | L40S 24GB | L40S-24 | H100 SXM 141GB | H100-94GB
    | MI325X 288GB | RTX PRO 6000 48GB"""
NO_SUCH = """GB200 NVL4 | GB300 NVL16 | GH200 96GB | H100 NVL 94GB | RTX PRO 6000 Blackwell Max-Q
    | L40 | TPU v4 | Gaudi2"""


def split(text: str) -> list[str]:
    return [name.strip() for name in text.replace("\n", " ").split("|")]


@pytest.mark.parametrize("system", SYSTEMS)
def test_systems(system: str) -> None:
    written = split(SYSTEMS[system])
    assert {name: names.system(load_catalog(), name) for name in written} == dict.fromkeys(
        written, system
    )


@pytest.mark.parametrize("name", split(OTHER_MEMORY))
def test_another_memory_size_is_another_card(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"the catalog's \w+ has \d+ GB"):
        names.system(load_catalog(), name)


@pytest.mark.parametrize("name", split(NO_SUCH))
def test_another_accelerator_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"is not in the catalog: did you mean \w+"):
        names.system(load_catalog(), name)


@pytest.mark.parametrize("name", ["H100 MIG 3g.40gb", "A100 MIG 7g.80gb", "H100 1g.10gb"])
def test_a_slice_is_no_accelerator(name: str) -> None:
    with pytest.raises(UnknownNameError, match="a slice of an accelerator"):
        names.system(load_catalog(), name)


@pytest.mark.parametrize(
    ("name", "model", "precision"),
    [
        ("Meta-Llama-3.1-70B-Instruct-FP8", "llama-3.1-70b", "fp8"),
        ("Llama-3.1-70B-Instruct-fp8-block", "llama-3.1-70b", "fp8_block"),
        ("llama3.1:70b-instruct-fp16", "llama-3.1-70b", "bf16"),
        ("meta.llama3-1-70b-instruct-v1:0", "llama-3.1-70b", "bf16"),
        ("llama-3.1-70b-instruct@fp8", "llama-3.1-70b", "fp8"),
        ("models/Qwen3-32B/", "qwen3-32b", "bf16"),
        ("llama3.1-8b-edge", "llama-3.1-8b", "bf16"),
        ("deepseek-r1-671b", "deepseek-r1", "fp8_block"),
        ("DeepSeek-R1-Distill-Llama-70B", "llama-3.3-70b", "bf16"),
        ("qwen3 coder 480b", "qwen3-coder-480b-a35b", "bf16"),
        ("nemotron-3-nano", "nemotron-3-nano-30b-a3b", "bf16"),
        ("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4", "nemotron-3-super-120b-a12b", "nvfp4"),
        ("MiniMaxAI/MiniMax-M2", "minimax-m2.5", "fp8_block"),
        ("google/gemma-3-27b-it", "gemma-3-27b", "bf16"),
        ("gemma3:4b", "gemma-3-4b", "bf16"),
        ("nvidia/Gemma-4-31B-IT-NVFP4", "gemma-4-31b", "nvfp4"),
        ("Qwen/Qwen2.5-72B-Instruct", "qwen2.5-72b", "bf16"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "qwen2.5-7b", "int4"),
        ("Qwen/Qwen3-4B-Instruct-2507", "qwen3-4b", "bf16"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8", "qwen3-coder-30b-a3b", "fp8_block"),
        ("Qwen/Qwen3-Next-80B-A3B-Thinking", "qwen3-next-80b-a3b", "bf16"),
        ("Qwen/Qwen3.6-27B-FP8", "qwen3.6-27b", "fp8_block"),
        ("mistralai/Mistral-Small-24B-Instruct-2501", "mistral-small-24b", "bf16"),
        ("mistralai/Mistral-Large-Instruct-2407", "mistral-large-2", "bf16"),
        ("mistralai/Mistral-Large-Instruct-2411", "mistral-large-2", "bf16"),
        ("google/gemma-3-27b-it-qat-int4", "gemma-3-27b", "int4"),
        ("mistralai/Mistral-Large-3-675B-Instruct-2512", "mistral-large-3", "fp8_block"),
        ("mistralai/Devstral-2-123B-Instruct-2512", "devstral-2-123b", "fp8"),
        ("microsoft/phi-4", "phi-4", "bf16"),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek-v3.1", "fp8_block"),
        ("moonshotai/Kimi-K2-Thinking", "kimi-k2-thinking", "int4_g32"),
        ("moonshotai/Kimi-K2-Instruct-0905", "kimi-k2", "fp8_block"),
        ("moonshotai/Kimi-K2.6", "kimi-k2.6", "int4_g32"),
        ("kimi-linear", "kimi-linear-48b-a3b", "bf16"),
        ("zai-org/GLM-4.5-Air-FP8", "glm-4.5-air", "fp8"),  # GLM-4 is scaled by channel
        ("GLM-4.7-FP8", "glm-4.7", "fp8"),
        ("zai-org/GLM-5-FP8", "glm-5", "fp8_block"),
        ("zai-org/GLM-4.7-Flash", "glm-4.7-flash", "bf16"),
        ("meta-llama/Llama-3.2-3B-Instruct", "llama-3.2-3b", "bf16"),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1-FP8", "nemotron-super-49b", "fp8"),
        ("ibm-granite/granite-4.0-h-small", "granite-4.0-h-small", "bf16"),
        ("tencent/Hunyuan-A13B-Instruct", "hunyuan-a13b", "bf16"),
        ("stepfun-ai/Step-3.5-Flash", "step-3.5-flash", "bf16"),
    ],
)
def test_models_and_their_formats(name: str, model: str, precision: str) -> None:
    catalog = load_catalog()
    assert names.model(catalog, name, None) == model
    assert names.precision(catalog, model, names.format_in(name)) == precision


@pytest.mark.parametrize(
    "name",
    [
        *("deepseek-r1-70b", "llama-3.1", "gpt-oss", "qwen3-33b", "Llama-3-8B", "gemma-3-1b-it"),
        *("GLM-4.6V", "Qwen2.5-VL-72B-Instruct", "Phi-4-mini-instruct", "Mistral-Small-3.2-24B"),
    ],
)
def test_another_model_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"is not in the catalog: did you mean [\w.-]+"):
        names.model(load_catalog(), name, None)


@pytest.mark.parametrize(
    "name", ["Llama-3.1-70B-Instruct-MXFP8", "llama3.1:8b-instruct-q4_K_M", "Qwen3-32B-INT8"]
)
def test_a_format_without_kernels_is_the_reason_and_not_the_model(name: str) -> None:
    catalog = load_catalog()
    model = names.model(catalog, name, None)
    with pytest.raises(UnknownNameError, match=r"number format .* has no kernel figures"):
        names.precision(catalog, model, names.format_in(name))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("torch.bfloat16 | BF16 | half | float16", "bf16"),
        ("FP8 | fp8_e4m3 | float8_e4m3fn | FP8-Dynamic | W8A8-FP8 | fp8_kv", "fp8"),
        ("fp8-block | FP8_BLOCK_SCALES", "fp8_block"),
        ("FP4 | modelopt_fp4 | NVFP4", "nvfp4"),
        ("AWQ | GPTQ-Int4 | W4A16 | w4a16_awq", "int4"),
        ("INT4-g32", "int4_g32"),
    ],
)
def test_formats(written: str, expected: str) -> None:
    found = {name: format_named(name) for name in split(written)}
    assert {name: f and f.id for name, f in found.items()} == dict.fromkeys(found, expected)
    assert format_named("int8") is None and format_named("gguf") is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("TP4,PP2 | tp=4 pp=2 | TP4xPP2 | PP2/TP4 | tp_4-pp_2 | TP: 4, PP: 2", {"tp": 4, "pp": 2}),
        ("TP8EP8 | TP8-EP8 | tp=8, ep=8 | TEP8", {"tp": 8, "ep": 8}),
        ("DEP8 | DP8EP8 | dp8+ep8", {"dp": 8, "ep": 8}),
        ("TP8", {"tp": 8}),
    ],
)
def test_layouts(written: str, expected: dict[str, int]) -> None:
    for text in split(written):
        assert published.degrees(text) == expected, text
    assert published.degrees("") == {}


@pytest.mark.parametrize("text", ["4xTP2", "TP2 TP4", "TP0", "8 GPUs", "TP8 on 2 nodes", "CP2"])
def test_a_layout_that_is_not_understood_is_not_replaced_by_a_guess(text: str) -> None:
    with pytest.raises(UnknownNameError, match="is not understood"):
        published.degrees(text)
