from distill_asr.api import DecodeOptions as DecodeOptions
from distill_asr.api import LoadedStudent as LoadedStudent
from distill_asr.api import Recognised as Recognised
from distill_asr.api import Stream as Stream
from distill_asr.api import Transcript as Transcript
from distill_asr.api import UserError as UserError
from distill_asr.api import dump_targets as dump_targets
from distill_asr.api import load_student as load_student
from distill_asr.api import score_systems as score_systems
from distill_asr.api import train_student as train_student

__version__: str
