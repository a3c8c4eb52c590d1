from .bootstrap import bootstrap_draws, bootstrap_intervals
from .counterfactual import probe_metrics
from .keyword import keyword_metrics
from .label_map import label_relevance_metrics
from .metric_family import MetricFamily
from .noise_ceiling import noise_ceiling_metrics, oracle_ranks
from .per_query import chance_metrics, per_query_values, rank_metrics, summarize
from .prompts import prompt_sentences, prompted_labels
from .ranking.rank_engine import rank_both, rank_queries
from .ranking.ranks import DIRECTION_TITLES, DIRECTIONS, Ranks, chance_ranks, rank_scores, right_answers
from .retrieval_metric import CrossModalRetrieval, selection_score
from .significance import compare_methods, holm, randomisation_test
from .zero_shot import zero_shot_metrics

__all__ = [
    "DIRECTIONS",
    "DIRECTION_TITLES",
    "CrossModalRetrieval",
    "MetricFamily",
    "Ranks",
    "bootstrap_draws",
    "bootstrap_intervals",
    "chance_metrics",
    "chance_ranks",
    "compare_methods",
    "holm",
    "keyword_metrics",
    "label_relevance_metrics",
    "noise_ceiling_metrics",
    "oracle_ranks",
    "per_query_values",
    "probe_metrics",
    "prompt_sentences",
    "prompted_labels",
    "randomisation_test",
    "rank_both",
    "rank_metrics",
    "rank_queries",
    "rank_scores",
    "right_answers",
    "selection_score",
    "summarize",
    "zero_shot_metrics",
]
