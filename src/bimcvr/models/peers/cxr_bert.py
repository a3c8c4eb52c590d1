"""The vocabulary of CXR-BERT, which two peers read reports with."""

from typing import Any

from bimcvr.models.peers.weights import PeerWeights

TOKENIZER = "microsoft/BiomedVLP-CXR-BERT-specialized"
TOKENS = 512
REVISION = "5157bdba1437a3aed316dacb1a5b68edf96b9902"


def cxr_bert_tokenizer(model: str) -> tuple[Any, PeerWeights]:
    """Read vocab.txt of CXR-BERT; the code that its page on the hub brings along is not run.

    Args:
        model: `microsoft/BiomedVLP-CXR-BERT-specialized`, at the commit that COLIPRI names, or its folder.

    Returns:
        The tokenizer, and the file that it is made of.

    Raises:
        UserError: there is no such folder or file.
        WeightsAbsent: it is not here and cannot be downloaded.
    """
    from transformers import BertTokenizer

    vocabulary = PeerWeights(
        model, ["vocab.txt"], random_weights=False, revision=REVISION if model == TOKENIZER else None
    )
    return BertTokenizer.from_pretrained(vocabulary.files[0].parent, model_max_length=TOKENS), vocabulary
