"""Words that make a trigger together, in English, Spanish and some Catalan; see `triggers.find_triggers`.

Written without accents, as `tokens.fold` returns them.
"""

# words that deny, or ask for, what an exclusion states
DENIALS = frozenset(
    """
no not nor never cannot unable impossible difficult hard without neither should must need needs needed
sin sense ni tampoco nunca imposible dificil dificilmente debe deben deberia deberian habria habra conviene recomienda
insufficient
""".split()
)
EXCLUSION = frozenset(
    """
exclude excluded excludes excluding rule ruled rules ruling
descartar descartarse descartarla descartarlo descarta descartan descartado descartada descartados descartadas
descartable descartables descartando descartandose
excluir excluirse excluirla excluirlo excluye excluyen excluido excluida excluidos excluidas excluyendo excluyente
descartat excloure exclou
""".split()
)
# words between a denial and an exclusion
LINKS = frozenset(
    """
be been being to have has had is are was were can could may might possible able entirely completely fully totally
wholly definitively definitely confidently reliably absolutely safely certainly convincingly strictly formally
altogether yet also therefore clearly easily on this study necessarily
se hemos poderse pudiendose quedando queda quedar haberse ha han haya hayan puede pueden podido poder pudiendo pudo
podria podrian podemos pueda puedan pudiera cabe es
fue son sido posible permite permiten que por completo totalmente completamente con seguridad certeza absoluto del
todo sea resulta logra consigue categoricamente definitivamente formalmente fiabilidad a de pot poden es
""".split()
)
# what a denial leaves where it is: nouns and verbs of change
CHANGE = frozenset(
    """
change changes difference differences growth progression progress increase decrease enlargement worsening improvement
reduction resolution
regression variation clearing expansion extension
cambio cambios crecimiento crecimientos progresion aumento incremento disminucion reduccion mejoria empeoramiento
variacion variaciones modificacion modificaciones resolucion desaparicion regresion diferencia diferencias evolucion
ampliacion agravamiento
resuelta resueltos resueltas crecida crecidos aumentada aumentados reabsorcion reabsorbido crecido aumentado
disminuido mejorado empeorado variado cambiado modificado resuelto desaparecido progresado
crece crecen aumenta aumentan disminuye disminuyen mejora mejoran empeora empeoran varia varian cambia cambian
modifica modifican progresa progresan resuelve resuelven desaparece desaparecen desaparecer resolverse crecer
canvi canvis creixement progressio augment disminucio milloria empitjorament variacions crescut augmentat
""".split()
)
# `no cavitation of the known nodule`: what is known is there
KNOWN = frozenset("known existing preexisting conocido conocida conocidos conocidas preexistente preexistentes".split())
# `not seen on the prior study`: what was not there, is
EARLIER = frozenset(
    """
prior previous previously earlier before preceding last previo previa previos previas anterior anteriores previamente
anteriormente anterioridad precedente previ previament
""".split()
)
NOW = frozenset("current currently today actual actualmente either compared comparado comparada respecto".split())
AT = frozenset("on in at en al a previously previamente anteriormente before earlier con amb".split())
# these follow `not`; after `no` they describe a finding: `no enlarged nodes`
ADJECTIVES_OF_CHANGE = frozenset(
    """
changed grown increased decreased improved worsened progressed resolved regressed cleared disappeared larger smaller
bigger greater enlarged resolve change grow increase decrease improve progress disappear enlarging increasing
decreasing growing altered modified reduced
""".split()
)
# after a word of change: it is an abnormality itself
CHANGE_AS_CAUSE = frozenset(
    """
suggestive suggesting consistent compatible indicative typical concerning suspicious characteristic
sugestivo sugestivos sugestivas sugerente sugerentes compatibles indicativos propios tipicos sospechosos inflamatorios
degenerativos fibroticos agudos cronicos patologicos
""".split()
)
# `no change in the nodule or new effusion`: what is new is denied
OR = frozenset("or nor o ni".split())
NEW = frozenset(
    "new additional recurrent residual other nuevo nueva nuevos nuevas otro otra otros otras nous noves".split()
)
RESOLUTION = frozenset(
    """
resolution resolved resolve resolves cleared clearing disappeared disappearance disappear
resolucion resuelto resuelta resueltos resueltas desaparicion desaparecido desaparecida desaparece desaparecen
""".split()
)
PARTIAL = frozenset(
    """
partial subtotal partially incomplete incompletely near nearly almost mostly largely practically virtually partly
parcial practica parcialmente incompleta incompletamente casi practicamente
""".split()
)
# all that the rest of an answer may hold: `Nodules: none seen`
ANSWER_WORDS = frozenset(
    """
seen identified visualized visualised observed demonstrated detected noted found visible evident present evidence of
significant definite obvious any such findings finding abnormality signs sign here today the for is are at this time
observa observan aprecia aprecian identifica identifican visualiza visualizan objetiva objetivan evidencia evidencian
ve ven hay existe existen detecta detectan muestra hallazgos hallazgo signos signo datos de visibles presentes
evidentes se en el la estudio actual significativo significativos claras claros valorables s i ha han observado
los las mismos mismas apreciado identificado visualizado encontrado detectado este esta exploracion study exam
examination ct tc this in on
currently actualmente momento observen aprecien identifiquen visualitzen veuen n ' ’ filling defect defects suspicious
lesion lesions pathologic pathological enlarged new acute focal relevant lesiones defecto defectos replecion sospechoso
sospechosos sospechosa sospechosas patologico patologicos patologica patologicas nuevo nuevos nueva nuevas relevantes
""".split()
)
