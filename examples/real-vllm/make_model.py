"""Make a language model that knows nothing: the smallest thing that vLLM serves like a large one.

Four Qwen2 layers of random numbers behind a tokenizer trained on Python's own standard library. What it says is
nonsense, but nonsense that depends on every token of the prompt, and greedily the same each time: all that a recorder
can wish for.

usage: make_model.py FOLDER      with the interpreter of the environment that `install` made
"""

import os
import pathlib
import shutil
import sys
import sysconfig

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import tokenizers
import torch
import transformers

END, TURN, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

TEMPLATE = """\
{%- if tools %}{{ '<|im_start|>tools' }}{% for tool in tools %}
{{ tool | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}
{%- if message['content'] is string %}{{ message['content'] }}
{%- else %}{% for part in message['content'] or [] %}{{ part['text'] }}{% endfor %}{% endif %}
{{- '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

# Sixteen million parameters: a step for 16 streams takes one core some 10 ms. With fewer, vLLM makes tokens faster than
# its own HTTP server can send them from the other core, and all of a stream comes in one burst.
SHAPE = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    # Ten times the usual spread: with less, greedy decoding says one token for ever.
    "initializer_range": 0.35,
}


def reading() -> list[str]:
    """A megabyte or two that every Python has: the modules at the top of its standard library."""
    return [str(path) for path in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py"))[:150]]


def learn_to_read() -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE: any text becomes tokens and comes back the same."""
    bytes_alone = tokenizers.pre_tokenizers.ByteLevel
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = bytes_alone(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    bpe.train(
        reading(),
        tokenizers.trainers.BpeTrainer(
            vocab_size=4096,
            special_tokens=[END, TURN, STOP],
            initial_alphabet=bytes_alone.alphabet(),
            show_progress=False,
        ),
    )
    reader = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=STOP, pad_token=END)
    reader.chat_template = TEMPLATE
    return reader


def roll_the_dice(reader: transformers.PreTrainedTokenizerFast) -> transformers.Qwen2ForCausalLM:
    """The same dice every time: the model is the same on every machine with the same torch."""
    torch.manual_seed(0)
    shape = transformers.Qwen2Config(
        vocab_size=len(reader), bos_token_id=reader.bos_token_id, eos_token_id=reader.eos_token_id, **SHAPE
    )
    return transformers.Qwen2ForCausalLM(shape).to(torch.bfloat16)


def main(folder: pathlib.Path) -> None:
    """Write it beside its place and move it there whole."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    reader = learn_to_read()
    reader.save_pretrained(part)
    roll_the_dice(reader).save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
