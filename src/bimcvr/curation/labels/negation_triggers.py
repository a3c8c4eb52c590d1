"""Trigger words of negation, uncertainty and history in English and Spanish, after NegEx and ConText.

Chapman et al., J Biomed Inform 34 (2001) 301-310 (NegEx); Harkema et al., J Biomed Inform 42 (2009) 839-851 (ConText).
The Spanish ones follow the usage of Spanish clinical notes (cues as in Lima Lopez et al., LREC 2020). Written without
accents; alternatives of a word are joined by `|`. The longest trigger wins, so that `no se puede descartar` is not a
`no`.
"""

# A trigger's kind is its meaning; its side is where it acts: after itself, before itself, `both` (after itself if a
# finding follows in its clause, else before), `end` (before itself where a clause ends with it), `answer` (only as the
# answer to a heading), `next` and `last`
# (only the adjacent finding). `pseudo` looks like a trigger but is none.
TRIGGERS: dict[tuple[str, str], str] = {
    ("absent", "after"): """
        no; not; without; neither; free from; inconsistent with; argue|argues against; against the|a diagnosis of;
        nothing to suggest|indicate; nothing suspicious|concerning for|of; nada que sugiera|indique; neg for;
        negative|neg ct|study|exam|scan|examination|cta|ctpa for; nor; never;
        absence of; lack of; negative for; free of; clear of; resolution of;
        rather than;
        denies; denied; deny; fail|fails|failed to reveal|show|demonstrate|identify|detect|depict; ruled out for;
        disappearance of; instead of; no longer;
        unremarkable for; devoid of; zero; nil; complete|interval clearing of; complete interval clearing of;
        non visualization|visualisation of; nonvisualization|nonvisualisation of;
        non visualized|visualised; nonvisualized|nonvisualised; w / o; isnt; arent; doesnt; dont; didnt;
        no further sign of;
        complete|full|total resolution|disappearance of; complete interval resolution of; exclude|excludes|excluding;
        rules|ruling out
        sin; ni; tampoco; ningun|ninguna|ninguno; ausencia de|del; inexistencia de; falta de;
        niega|niegan|negaba|niego; nunca;
        jamas; libre|libres de; exento|exenta|exentos de; desaparicion de|del; resolucion de|del;
        desaparece|desaparecen|desaparecieron; negativo|negativa|negativos|negativas para;
        descarta|descartan|descarto|descarte|descartaron|descartamos|descartandose|descartando; se ha descartado;
        excluye|excluyen;
        resolucion completa|total de|del; desaparicion completa|total de|del; carece|carecen de; s /; ningun signo de;
        queda|quedan descartado|descartada|descartados|descartadas;
        sense; tras|despues descartar|descartarse|excluir|excluirse; absencia de|d; lliure|lliures de;
        negatiu|negativa per a;
        en ausencia de; nula|nulo; tampoc; desaparicio de|del|d; ha|han desaparegut; s ha descartat; es descarta;
        imposibilidad de; inapreciable|inapreciables""",
    ("absent", "both"): """
        no longer seen|visible|present|identified|evident|visualized|visualised|observed|demonstrated|detected;
        not seen|identified|present|visualized|visualised|observed|demonstrated|evident|detected|noted|found|visible;
        absent;
        resolved; ruled out; excluded
        ha|han desaparecido|resuelto; descartado|descartada|descartados|descartadas;
        no se observa|observan|aprecia|aprecian|identifica|identifican;
        no se visualiza|visualizan|objetiva|objetivan|evidencia|evidencian;
        no se ve|ven|detecta|detectan|encuentra|encuentran;
        no se muestra|muestran;
        no se ha|han observado|apreciado|identificado|visualizado|objetivado|evidenciado|encontrado;
        ya no se observa|observan|aprecia|aprecian|visualiza|visualizan|identifica|identifican|ve|ven;
        no s observa|observen|aprecia|aprecien|identifica|identifiquen|visualitza|visualitzen|veu|veuen;
        no s ' observa|observen|aprecia|aprecien|identifica|identifiquen; no hi ha; absent|absents;
        ja no s observa|observen|aprecia|aprecien|veu|veuen; ja no s ' observa|observen|aprecia|aprecien|veu|veuen;
        s ' ha descartat;
        no se observaba|observaban|apreciaba|apreciaban|demuestra|demuestran;
        no visible|visibles|presente|presentes|evidente|evidentes""",
    ("absent", "before"): """
        is|are|was|were excluded; has|have resolved; has|have disappeared; has|have cleared; negative; neg; cleared;
        is|are|was|were ruled out; has|have been ruled out; is|are|was|were absent;
        no longer seen|visible|present|identified|evident;
        is|are|was|were not appreciated|apparent; is|are|was|were not a feature; is|are|was|were gone;
        could|can not be identified|seen|found|detected|visualized|demonstrated;
        cannot be identified|seen|found|visualized;
        negatiu|negativa|negatius|negatives;
        is|are|was|were not seen|identified|present|visualized|visualised|observed|demonstrated;
        is|are|was|were not evident|detected|noted|found|visible
        negativo|negativa|negativos|negativas; ausente|ausentes; resuelto|resuelta|resueltos|resueltas;
        inexistente|inexistentes;
        desaparecido|desaparecida""",
    ("absent", "last"): "(-)",
    ("absent", "end"): "no; none; ninguno|ninguna|ningun",
    ("absent", "answer"): "n; 0; nil; nad; negatiu; ausencia; absence; libre|libres",
    ("uncertain", "both"): """
        unlikely; less likely; very|highly unlikely; improbable|improbables; poco probable|probables;
        indeterminate|inconclusive for; doubtful; tal vez; indeterminate; inconclusive;
        not favored|favoured; if any; si acaso""",
    ("uncertain", "after"): """
        doubt; risk of|for; riesgo de; risc de|d; sospita de; dubtos|dubtosa; apparent; unclear if|whether;
        is unclear if|whether;
        orienta|orientan a; sin poder asegurar|confirmar; no se puede asegurar|confirmar; no|not diagnostic of;
        not|non specific for; nonspecific for; no especifico|especifica|especificos|especificas de|para; ?; r / o;
        whether; whether there is|are; nondiagnostic for; non diagnostic for; nondiagnostic|limited|suboptimal to;
        assess|assessment|evaluate|evaluation for; unclear; uncertain; not certain; not sure; question whether;
        may|might|could|would be due|secondary|related to; may|might|could be a|an; differential considerations;
        differential includes|include; differential considerations include|includes; ddx; query;
        low probability|suspicion of|for;
        baja probabilidad|sospecha de; duda|dudas entre;
        d / c; dx diferencial; plantea; plantear; excluir; excluirse; descartarse; no concluyente para;
        no diagnostico para;
        podria|podrian|pudiera|pudieran|puede|pueden estar en relacion con;
        podria|podrian|pudiera|pudieran|puede|pueden deberse a;
        no se sabe si; se desconoce si; valorar si; sin poder precisar;
        possible|possibly|probable|probably|likely|presumed;
        presumably|perhaps|maybe|questionable|suspected|equivocal|suspicion;
        suspicious for|of; suspicion of|for; suspect|suspects; concern for; concerning for; worrisome for;
        suggestive of;
        suggest|suggests; suggesting; may|might|could|would;
        may|might|could represent|reflect|be|indicate|correspond|suggest;
        question of; to exclude; cannot exclude|excluded; cannot rule out; can not exclude; not exclude|excluding;
        not rule out;
        to rule out; rule out; differential diagnosis; differential includes; versus; vs; favor|favors|favour; consider;
        raises the possibility of; possibility of; appears to be; evaluate for; no evidence to rule out; in case of
        posible|posibles|posiblemente|probable|probables|probablemente;
        presunto|presunta|presumible|presumiblemente|quiza|quizas;
        sospecha de|del; sospecha; sospechoso|sospechosa|sospechosos|sospechosas de; sospechoso|sospechosa; se sospecha;
        sugestivo|sugestiva|sugestivos|sugestivas de; sugerente|sugerentes de; sugiere|sugieren|sugiriendo|sugerir;
        sugestivo|sugestiva; podria|podrian|pudiera|pudieran|puede|pueden; parece|parecen|pareciendo;
        impresiona|impresionan de;
        dudoso|dudosa|dudosos|dudosas;
        podria|podrian|pudiera|pudieran|puede|pueden corresponder|representar|ser|tratarse|sugerir|deberse|indicar;
        a descartar;
        para descartar; descartar; por descartar; no descarta|descartan; no se descarta|descartan; no descartar;
        no se puede|pueden|podria descartar; no puede|pueden descartarse; no permite|permiten descartar;
        no pudiendo descartar|descartarse; no pudiendose descartar; sin poder descartar|descartarse;
        no podemos descartar;
        no se ha podido descartar; sin descartar; no pueda descartarse; no es posible descartar;
        no pudiendo diferenciar|diferenciarse; no excluye|excluyen; no se puede excluir; no descartable|descartables;
        no descartandose; no descartando; a valorar; valorar; cabe la posibilidad de; posibilidad de;
        diagnostico diferencial;
        hipotesis de; versus; en caso de; no|sin clara|claras|claro|claros; no parece|parecen|impresiona;
        no|sin evidencia clara de;
        si se trata de; aparente|aparentes; aparentemente; a confirmar; orientado|orientada a""",
    ("uncertain", "before"): """
        is|are favored|favoured; is the leading|primary|main|first consideration|diagnosis|possibility;
        como primera|principal posibilidad|opcion|hipotesis;
        ( ? ); is|remains a possibility|consideration; remains possible|likely|suspected;
        in the differential; is|are|remains in the differential; is|are unclear|uncertain|indeterminate|equivocal;
        to be confirmed;
        es|son posible|posibles|probable|probables; no es|son segura|seguro;
        is|are possible|likely|probable|suspected|questionable; cannot be excluded; can not be excluded;
        cannot be ruled out;
        is|are not excluded; not excluded; not be excluded; versus; vs
        no se puede|pueden descartar; no puede|pueden descartarse; no descartable|descartables;
        no se descarta|descartan; versus; vs""",
    ("uncertain", "end"): """
        possible; likely; probable; suspected; questionable
        posible|posibles; probable|probables; dudoso|dudosa; a descartar; por descartar; a valorar;
        a confirmar""",
    ("history", "after"): """
        mother|father|brother|sister|daughter|uncle|aunt|cousin|grandmother|grandfather|grandparent|nephew|niece;
        mom|mum|dad|grandson|granddaughter|stepfather|stepmother|parents|siblings|sibling|brothers|sisters|cousins;
        wife|husband|spouse|relative|relatives|twin; family history;
        family member|members; family history of; contact with; close contact with; exposure to; exposed to;
        cohabitant; roommate;
        madre|padre|hermano|hermana|hermanos|hermanas|hijo|hija|hijos|hijas|tio|tia|tios|tias|primo|prima|primos|primas;
        abuelo|abuela|abuelos|sobrino|sobrina|padres;
        nieto|nieta|vecino|vecina|suegro|suegra|cunado|cunada;
        esposa|esposo|marido; conyuge; familiares|familiar con|de;
        historia familiar de; antecedentes familiares; contacto con; contacto estrecho con; convive con;
        conviviente|convivientes; exposicion a;
        mare|pare|avi|avia amb; pareja con|tiene; germa|germana; his|her|whose|the|a son; donor; pare; tuvo; h / o;
        s / p;
        status post; hx; s p;
        history of; h o; hx of; past history of; past medical history; prior history of; previous history of;
        known history of
        antecedente|antecedentes de|del; antecedente|antecedentes personales de; antecedente|antecedentes; historia de;
        historia previa de; historia clinica de; antecedents de|d; antecedents familiars;
        episodio|episodios previo|previos de""",
    ("history", "before"): """
        years ago; months ago; in childhood; en la infancia;
        hace un|una|dos|tres|cuatro|cinco|seis|siete|ocho|diez|unos|varios|muchos ano|anos|mes|meses;
        hace 2|3|4|5|6|7|8|9|10|12|15|20 anos|meses""",
    ("history", "next"): "prior; previous; past; previously treated",
    ("history", "last"): """
        in the past
        previo|previa|previos|previas|pasado|pasada; en el pasado""",
    ("pseudo", ""): """
        failure of resolution; failure|fails|failed to resolve|clear|improve; sister mary joseph;
        daughter nodule|nodules;
        by|with his|her|the mother|father|wife|husband; mother|father|wife|husband reports|states|refers;
        madre|padre|esposa|marido|familiares refiere|refieren|comenta|comentan|informa;
        por su madre|padre|esposa|marido;
        ni en|del; ni de la|las|los; non obstructing|obstructive|obstructed|enlarged;
        not previously|yet described|reported;
        not meet|meeting; does|do not meet; not enhance|enhancing|cavitated|calcified;
        no descrito|descrita|descritos|descritas|conocido|conocida|conocidos|conocidas; no alcanza|alcanzan;
        no capta|captan|tabicado|tabicada|cavitado|cavitada; no clinical significance; of no significance;
        no complicated|tension|tensional; sin significacion|significado|repercusion|relevancia;
        no change|changes; no significant change; no interval change; no increase; no decrease; no further; not only;
        not necessarily; without change|changes; without significant change; without contrast; without iv contrast;
        without intravenous contrast; no contrast; non contrast; not compared;
        no prior|previous study|studies|exam|examination|ct|imaging|comparison; gram negative; non hodgkin;
        not seen|present|visible on|in the prior|previous; not seen|present|visible on|in prior|previous;
        prior|previous study|studies|exam|examination|ct|imaging|report|radiograph|radiographs|comparison|scan;
        no other;
        not available; compared with|to prior|previous; no longer than; not significantly; not well; no doubt;
        without doubt; without a doubt; little doubt; beyond doubt; no hay|existe duda;
        not clearly
        no hodgkin; no visto|vista|vistos|vistas en; no presente|presentes en; sin cambios; sin cambio;
        sin variacion|variaciones;
        sin contraste; sin civ; sin cic; sin embargo; no obstante; no solo; no solamente;
        no ha|han variado|cambiado|aumentado|disminuido; no modificado|modificada; no se modifica|modifican;
        no valorable|valorables; no se dispone de; no disponemos de; gram negativo|negativos; no concluyente; sin duda;
        no cabe duda; no aumenta|aumentan; no disminuye|disminuyen; sin modificacion|modificaciones; no varia|varian;
        estudio|estudios|tc|tac|rx|control previo|previa|previos; sin administracion de contraste;
        sin contraste intravenoso;
        sin contraste iv; radiografia|radiografias previa|previas; no filiado; respecto a previo|previa|previos;
        no completamente;
        no totalmente; no claramente; no bien; estudio|estudios anterior|anteriores; rx negativo|negativa;
        que sugiera|sugieran|indique|indiquen; no complicado|complicada;
        no especifico|especificos|especifica|especificas;
        no tipico; no calcificado; no calcificada|calcificados|calcificadas; non calcified; no tratado|tratada;
        sin tratamiento;
        no reciente; no agudo; no aguda""",
}

# Words that end a scope; they are outside of it.
TERMINATORS = """
    but; however; although; though; except; except for; apart from; aside from; other than; yet; nevertheless; whereas;
    while;
    which; still; there is|are|was|were; is|are seen|noted|identified|present|observed|visualized;
    shows|show|demonstrates|demonstrate|reveals|reveal; due to; secondary to; because of; because; consistent with;
    compatible with;
    with evidence of; since; persists|persist; remains|remain; , with; and there; and a|an;
    , small|mild|moderate|large|minimal|slight|severe|tiny|marked|discrete
    pero; aunque; salvo; excepto; sin embargo; no obstante; si bien; mientras; mientras que; a excepcion de; sino;
    unicamente; solo;
    solamente;
    se observa|observan|aprecia|aprecian|identifica|identifican;
    se visualiza|visualizan|objetiva|objetivan|evidencia|evidencian;
    se observo|observaron|aprecio|apreciaron|identifico|identificaron|visualizo|visualizaron|objetivo|objetivaron;
    se evidencio|evidenciaron|observaba|observaban|apreciaba|apreciaban; presenta|presentan|presentando;
    mostro|mostraba|muestra|muestran|mostrando|existe|existen|hay|persiste|persisten|destaca|destacan|destacando;
    debido a; secundario|secundaria|secundarios|secundarias a; en relacion con; por lo que; compatible|compatibles con;
    en probable;
    ya que; asi como; mejoria; empeoramiento; mantiene|mantienen; , con; , y;
    , discreto|discreta|leve|leves|minimo|minima|pequeno|pequena;
    , pequenos|pequenas|moderado|moderada|ligero|ligera|gran|severo|severa;
    ademas; tambien; con signos de; que; excepto por; actualmente; motivo por el que; tras; porque
"""

# A sentence that begins with one of these and `:` is about the patient's history or the clinical question.
HISTORY_HEADINGS = """
    history; clinical history; indication; indications; clinical indication; reason; reason for exam;
    reason for examination;
    past history; past medical history; pmh; pmhx; family history; fh; fhx; social history; clinical information; hpi;
    antecedentes familiares; familiares; hf; ant familiares; af; antecedentes clinicos; antecedentes medicos;
    antecedents;
    antecedents familiars; antecedentes; antecedentes personales; motivo; motivo de consulta; datos clinicos;
    historia clinica;
    informacion clinica; indicacion; sospecha clinica; motivo de la exploracion; motivo de la peticion; ap
"""
