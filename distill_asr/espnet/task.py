"""DistillTask: ESPnet's ASR task plus ``distill:``. Trainer, iterators and options are ESPnet's."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from espnet2.tasks.abs_task import optim_classes
from espnet2.utils.nested_dict_action import NestedDictAction

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.data.pieces import PieceTokenizer
from distill_asr.data.words import TokenWords
from distill_asr.distill.block import DistillBlock
from distill_asr.distill.build import build_distillers
from distill_asr.distill.facts import TeacherRecord
from distill_asr.errors import UserError
from distill_asr.espnet.characters import quicker
from distill_asr.espnet.cpu_training import shorten_steps, update_in_one_pass
from distill_asr.espnet.learning_rates import parameter_groups
from distill_asr.espnet.plugin import ASRTask
from distill_asr.espnet.trained_encoder import TrainedEncoder
from distill_asr.espnet.trainer import DistillTrainer
from distill_asr.models.encoders.hf_speech import HFSpeechEncoder
from distill_asr.models.frontends.rate import sampling_rate_of
from distill_asr.models.students.base import Student, probe_taps
from distill_asr.teachers.online import OnlineTeacher, from_mapping, reads_audio
from distill_asr.teachers.online_text import OnlineReader


class DistillTask(ASRTask):
    """Builds a student and, where the config has ``distill:``, its distillers."""

    trainer = DistillTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the two blocks of this package to ESPnet's options."""
        super().add_task_arguments(parser)
        # stage 1 has no text; our own check asks for the list where a student needs one
        parser.get_default("required").remove("token_list")
        group = parser.add_argument_group(description="Distillation")
        group.add_argument("--distill", action=NestedDictAction, default={})
        group.add_argument(
            "--distill_teachers",
            action=NestedDictAction,
            default={},
            help="Written by `distill-asr train` from the target manifests",
        )
        group.add_argument(
            "--learning_rates",
            action=NestedDictAction,
            default={},
            help="By part, the beginning of parameter names; all else has that of optim_conf",
        )

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Only audio: stage 1 has no text. Students with text are checked before training."""
        return ("speech",)

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Text, and what ESPnet allows."""
        return ("text", *super().optional_data_names(train, inference))

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> Any:
        """ESPnet's, with its characters sooner; pieces of a text model get the list's ids."""
        if args.token_type != PIECES:
            preprocessor = super().build_preprocess_fn(args, train)
            if preprocessor is not None:
                preprocessor.tokenizer = quicker(preprocessor.tokenizer)
            return preprocessor
        # ESPnet's own branch gives the ids of the model's whole vocabulary
        plain = argparse.Namespace(**{**vars(args), "token_type": "word", "bpemodel": None})
        preprocessor = super().build_preprocess_fn(plain, train)
        if preprocessor is not None:
            preprocessor.tokenizer = PieceTokenizer(args.bpemodel)
        return preprocessor

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> Student:
        """The student, with distillers unless this is a statistics pass."""
        model_args = argparse.Namespace(**vars(args))
        if args.token_list is None:
            model_args.token_list = ["<blank>"]
        if args.model == "transducer":
            model_args.model_conf = {**args.model_conf, "joint_net_conf": args.joint_net_conf}
        student = super().build_model(model_args)
        shorten_steps(student)
        if args.token_list is not None:
            args.token_list = model_args.token_list  # read from its file: the config is portable
        if args.distill and args.distill_teachers and not args.collect_stats:
            attach_distillers(student, args)
        if isinstance(student.encoder, HFSpeechEncoder):  # config.yaml builds it without its origin
            args.encoder_conf = {**args.encoder_conf, **student.encoder.portable_conf()}
        if isinstance(student.frontend, TrainedEncoder):
            args.frontend_conf = {**args.frontend_conf, **student.frontend.portable_conf()}
        return student

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """ESPnet's optimizer, with ``learning_rates`` for parts.

        Raises
        ------
        UserError : ``learning_rates`` with an option that does not go with them.
        """
        if not args.learning_rates:
            optimizers = super().build_optimizers(args, model)
        elif args.sharded_ddp or args.exclude_weight_decay:
            raise UserError(
                "learning_rates: not supported with sharded_ddp or exclude_weight_decay; remove "
                "one of them"
            )
        else:
            groups = parameter_groups(model, args.learning_rates)
            optimizers = [optim_classes[args.optim](groups, **args.optim_conf)]
        for optimizer in optimizers:
            update_in_one_pass(optimizer)
        return optimizers


def attach_distillers(student: Student, args: argparse.Namespace) -> None:
    """Give the student the distillers of a config.

    Parameters
    ----------
    student : built, without distillers.
    args : ``distill`` are its blocks, ``distill_teachers`` facts about the teachers.

    Raises
    ------
    UserError : every block whose student and teacher do not fit together.
    """
    blocks = {k: DistillBlock(**v) for k, v in args.distill.items() if k != "pick"}
    taps = sorted({options.tap for options in blocks.values()})
    student.watch(taps)
    shapes = probe_taps(student, taps, sampling_rate(args))
    student.taps.shapes = shapes
    records = {name: TeacherRecord(**conf) for name, conf in args.distill_teachers.items()}
    configs = {
        name: from_mapping(record.online)
        for name, record in records.items()
        if record.online is not None
    }
    online = {name: OnlineTeacher(one) for name, one in configs.items() if reads_audio(one)}
    readers = {
        name: OnlineReader(one, TokenWords(student.token_list, args.token_type, args.bpemodel))
        for name, one in configs.items()
        if name not in online
    }
    facts = {name: record.load() for name, record in records.items()}
    distillers = build_distillers(blocks, shapes, facts)
    for name, distiller in distillers.items():
        said = None if distiller.texts is None else distiller.matcher.survey(distiller.texts)
        if said:
            logging.info(f"distill.{name}: {said}")
    student.attach(distillers, args.distill.get("pick", "all"), online, readers)


def sampling_rate(args: argparse.Namespace) -> int:
    """Sampling rate in Hz of the audio that the front-end is set up for."""
    return sampling_rate_of(args.frontend_conf)


def build_untrained(config: Mapping[str, Any]) -> Student:
    """A student from a training config without its data, distillers or weights."""
    args = _arguments(config)
    if isinstance(args.token_list, str) and not Path(args.token_list).exists():
        args.token_list = ["<blank>", "<unk>", "<space>", "a", "<sos/eos>"]
    return DistillTask.build_model(args)


def text_tokenizer(config: Mapping[str, Any]) -> Callable[[str], list[str]]:
    """The tokens of a transcript in training, after ESPnet's text cleaner."""
    preprocess = DistillTask.build_preprocess_fn(_arguments(config), train=False)
    return lambda text: preprocess.tokenizer.text2tokens(preprocess.text_cleaner(text))


def _arguments(config: Mapping[str, Any]) -> argparse.Namespace:
    """ESPnet's arguments as a config gives them."""
    parser = DistillTask.get_parser()
    known = {action.dest for action in parser._actions}
    parser.set_defaults(**{key: value for key, value in config.items() if key in known})
    parser.exit_on_error = False  # texts are converted here, as where ESPnet reads its config
    try:
        return parser.parse_args([])
    except argparse.ArgumentError as error:
        key = (error.argument_name or "").lstrip("-")
        raise UserError(f"{key}: {error.message}; correct the value, or remove the key") from error
