"""The only file that writes into ESPnet's registries; importing it is enough."""

from __future__ import annotations

from espnet2.tasks import asr
from espnet2.tasks.asr import ASRTask  # noqa: F401  import it from here, not from ESPnet
from espnet2.tasks.lm import LMTask  # noqa: F401
from espnet2.train import dataset

from distill_asr.espnet import trained_encoder
from distill_asr.models.encoders import adapter
from distill_asr.models.encoders.chunked import ChunkedEncoder
from distill_asr.models.encoders.hf_speech import HF_SPEECH, HFSpeechEncoder
from distill_asr.models.frontends.kaldi_fbank import KaldiFbank
from distill_asr.models.students.cif import CIFStudent
from distill_asr.models.students.cif_decoders import CIF_DECODERS
from distill_asr.models.students.ctc import CTCStudent
from distill_asr.models.students.encoder_only import EncoderOnlyStudent
from distill_asr.models.students.predictors import LSTMPredictor, StatelessPredictor
from distill_asr.models.students.transducer import TransducerStudent
from distill_asr.targets.loader import load_targets

FRONTENDS = {"kaldi_fbank": KaldiFbank, trained_encoder.NAME: trained_encoder.TrainedEncoder}
POSTENCODERS = {adapter.ADAPTER: adapter.Adapter}
ENCODERS = {"chunked": ChunkedEncoder, HF_SPEECH: HFSpeechEncoder}
STUDENTS = {
    "cif": CIFStudent,
    "ctc": CTCStudent,
    "encoder_only": EncoderOnlyStudent,
    "transducer": TransducerStudent,
}
# predictors of espnet2.asr_transducer; ESPnet's own "transducer" decoder belongs to another loss
PREDICTORS = {"stateless": StatelessPredictor, "lstm": LSTMPredictor}
TARGETS_TYPE = "teacher_targets"


def register() -> None:
    """Add our classes under their short names; doing it again changes nothing."""
    asr.frontend_choices.classes.update(FRONTENDS)
    asr.encoder_choices.classes.update(ENCODERS)
    asr.postencoder_choices.classes.update(POSTENCODERS)
    asr.model_choices.classes.update(STUDENTS)
    asr.decoder_choices.classes.update(PREDICTORS | CIF_DECODERS)
    dataset.DATA_TYPES[TARGETS_TYPE] = {
        "func": load_targets,
        "kwargs": [],
        "help": "Teacher targets by utterance id: a file that lists target directories",
    }


register()
