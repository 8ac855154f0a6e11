"""Transducer predictors of ``espnet2.asr_transducer`` under the arguments ASRTask gives."""

from espnet2.asr_transducer.decoder.rnn_decoder import RNNDecoder
from espnet2.asr_transducer.decoder.stateless_decoder import StatelessDecoder


class StatelessPredictor(StatelessDecoder):
    """Embedding of the last token only.

    Parameters
    ----------
    vocab_size : V, blank at 0.
    encoder_output_size : not used; the encoder is no input of a predictor.
    embed_size : output width.
    """

    def __init__(
        self,
        vocab_size: int,
        encoder_output_size: int,
        embed_size: int = 256,
        embed_dropout_rate: float = 0.0,
    ) -> None:
        super().__init__(vocab_size, embed_size, embed_dropout_rate)


class LSTMPredictor(RNNDecoder):
    """Embedding and LSTM layers over the token history.

    Parameters
    ----------
    vocab_size : V, blank at 0.
    encoder_output_size : not used; the encoder is no input of a predictor.
    hidden_size : output width.
    """

    def __init__(
        self,
        vocab_size: int,
        encoder_output_size: int,
        embed_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout_rate: float = 0.0,
        embed_dropout_rate: float = 0.0,
    ) -> None:
        super().__init__(
            vocab_size,
            embed_size,
            hidden_size,
            "lstm",
            num_layers,
            dropout_rate,
            embed_dropout_rate,
        )
