"""Stop words: frequent words that say nothing about a study.

Three lists, since three things leave words out: the full-text index (whose list is fixed by its software), the marking
of a query's words in a report, and the word counts of a dataset.
"""

INDEX_STOP_WORDS = frozenset(
    """
a about after again against ain all am an and are aren as at be been being below between both but by can couldn d did
didn do doesn doing don down each few for from further had hadn has hasn have haven having he her here hers herself him
himself his how i if in into is isn it its itself just ll m ma me more most mustn my myself needn no nor not now o of
off on or other others our ours out over own owned owns re s same shan she should shouldn so some such t than that the
their theirs them then there these they this those through to too under until up ups ve was wasn we were weren what when
where which while who whom will with won wouldn y you your yours yourself
""".split()
)
"""English words that the full-text index leaves out, as observed: LanceDB removes them by their stem."""

QUERY_STOP_WORDS = INDEX_STOP_WORDS | frozenset("el la los las un una de del en con y o sin hay se".split())
"""English and Spanish words of a query that are not marked in a report."""

REPORT_STOP_WORDS = frozenset(
    "a an and are as at be been but by can could for from had has have in into is it its may more no not of on or our"
    " over since so such than that the their there these this those to was were which will with within without also"
    " both each either neither nor other some any all most very seen noted shows show shown identified there's however"
    " al algun alguna ambas ambos ante asi cada como con cual cuando de del desde donde dos e el ella ellas ellos en"
    " entre era es esa ese eso esta estan estas este esto estos fue ha han hasta hay la las le les lo los mas me mi muy"
    " ni no nos o otra otras otro otros para pero por que se segun ser si sin sobre son su sus tambien tanto tiene todo"
    " todos tras u un una unas uno unos y ya aprecia aprecian evidencia evidencian muestra observa observan presenta"
    " presentan visualiza visualizan".split()
)
"""English and Spanish words that are left out of word counts, in lower case without accents."""
