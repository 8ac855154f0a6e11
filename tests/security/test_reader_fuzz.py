"""Readers of what others wrote: whatever it is, it is read as it stands or refused by UserError."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.corpora.aishell import read_transcripts
from distill_asr.corpora.commonvoice import COLUMNS, read_splits
from distill_asr.corpora.librispeech import read_part, read_speakers
from distill_asr.data.token_list import read_token_list
from distill_asr.data.tokens import BLANK, SOS_EOS, UNKNOWN
from distill_asr.errors import Problems, UserError

# what breaks readers: separators of all kinds, quotes, marks, halves of characters
BLANKS = " \t\r\n\0\ufeff\u00a0\u200b\u2028\u0085"
PIECES = st.sampled_from(
    [*"ab<>/.,'\"|#\\:;ü日\U0001f600", *BLANKS, "u\u0308", "<unk>", "<blank>", "100-5000-0000"]
)
WORDS = st.lists(PIECES, max_size=8).map("".join)
BYTES = st.one_of(
    WORDS.map(str.encode),
    WORDS.map(lambda text: text.encode("utf-16")),
    st.binary(max_size=40),
    st.tuples(WORDS, st.binary(max_size=3)).map(lambda pair: pair[0].encode() + pair[1]),
)
TOKENS = st.lists(st.one_of(st.sampled_from("abcüßд日"), WORDS), max_size=6)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(content=BYTES)
def test_a_token_list_of_anything(root: Path, content: bytes) -> None:
    file = root / "tokens.txt"
    file.write_bytes(content)
    try:
        tokens = read_token_list(file)
    except UserError as error:
        assert all(problem.startswith(str(file)) for problem in error.problems)
    else:
        assert tokens[0] == BLANK and tokens[-1] == SOS_EOS and UNKNOWN in tokens


LINES = TOKENS.map(lambda tokens: [token.replace("\n", "") for token in tokens])


@given(tokens=LINES, end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
def test_a_token_list_that_is_taken_is_what_the_file_holds(root, tokens, end, last) -> None:
    listed = [BLANK, UNKNOWN, *tokens, SOS_EOS]
    file = root / "tokens.txt"
    file.write_bytes((end.join(listed) + end * last).encode())
    plain = all(t and not set(t) & set(" \t\r\n\ufeff") and t.split() == [t] for t in tokens)
    try:
        found = read_token_list(file)
    except UserError:
        assert not plain or len(set(listed)) < len(listed)
    else:
        assert found == [token.removesuffix("\r") for token in listed]  # a line may end so


def common_voice(root: Path, tables: dict[str, bytes]) -> Path:
    folder = root / "cv" / "xx"
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for number in range(4):
        (folder / "clips" / f"c{number}.mp3").touch()
    for name, content in tables.items():
        (folder / f"{name}.tsv").write_bytes(content)
    return folder


@given(content=BYTES, header=st.booleans())
def test_common_voice_of_anything(root: Path, content: bytes, header: bool) -> None:
    first = "\t".join(COLUMNS).encode() + b"\n"
    whole = dict.fromkeys(("dev", "test"), first + b"s\tc0.mp3\ta b\n")
    problems = Problems()
    splits = read_splits(common_voice(root, whole | {"train": first * header + content}), problems)
    assert len(problems) or splits["train"]
    assert all(clip.sentence for split in splits.values() for clip in split.values())


@given(rows=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), quote=st.booleans())
def test_common_voice_rows_that_are_taken_are_what_the_file_holds(root, rows, quote) -> None:
    if quote:
        rows = [(client, f'"{sentence}') for client, sentence in rows]
    lines = ["\t".join(COLUMNS)]
    lines += [f"{client}\tc{n}.mp3\t{sentence}" for n, (client, sentence) in enumerate(rows)]
    problems = Problems()
    other = ("\t".join(COLUMNS) + "\n").encode()
    folder = common_voice(root, {
        "train": ("\n".join(lines) + "\n").encode(), "dev": other, "test": other,
    })  # fmt: skip
    found = {Path(clip.path).name: clip for clip in read_splits(folder, problems)["train"].values()}
    odd = set("\t\r\n\0")
    for number, (client, sentence) in enumerate(rows):
        clip = found.get(f"c{number}.mp3")
        if not set(client + sentence) & odd and client and sentence.split():
            assert clip is not None and clip.sentence == " ".join(sentence.split())


LIBRISPEECH = st.lists(
    st.one_of(BYTES, st.sampled_from([b"1-2-0000 A B", b"1-2-0001 C", b"1-2-0000"])), max_size=4
).map(b"\n".join)


@given(content=LIBRISPEECH, speakers=BYTES)
def test_a_librispeech_chapter_of_anything(root: Path, content: bytes, speakers: bytes) -> None:
    chapter = root / "LibriSpeech/dev-clean/1/2"
    chapter.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        (chapter / f"1-2-{number:04d}.flac").touch()
    (chapter / "1-2.trans.txt").write_bytes(content)
    table = root / "LibriSpeech/SPEAKERS.TXT"
    table.write_bytes(speakers)
    problems = Problems()
    subsets = read_speakers(table, problems)
    utterances = read_part(chapter.parents[1], subsets, True, problems)
    if not len(problems):
        assert [one.key for one in utterances] == ["1-2-0000", "1-2-0001"]
        told = dict(line.split(" ", 1) for line in content.decode().split("\n") if " " in line)
        for one in utterances:
            assert one.text.split() == told[one.key].lower().split()


@given(content=st.lists(st.one_of(BYTES, st.just("BAC1 而 对".encode())), max_size=4))
def test_aishell_transcripts_of_anything(root: Path, content: list[bytes]) -> None:
    file = root / "aishell.txt"
    file.write_bytes(b"\n".join(content))
    problems = Problems()
    texts = read_transcripts(file, problems)
    if not len(problems):
        assert not any(" " in text for text in texts.values())
