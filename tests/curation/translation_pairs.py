"""Spanish radiology sentences with English translations, both typed by hand.

Free renderings, as a radiologist would word them.
"""

PAIRS = (
    ("No se observa derrame pleural.", "No pleural effusion is seen."),
    (
        "No se observan nódulos pulmonares ni adenopatías mediastínicas.",
        "There are no pulmonary nodules or mediastinal lymphadenopathy.",
    ),
    ("Sin evidencia de tromboembolismo pulmonar.", "No evidence of pulmonary embolism."),
    ("Ausencia de derrame pericárdico.", "There is no pericardial effusion."),
    (
        "Derrame pleural derecho de 2,5 cm con atelectasia compresiva del lóbulo inferior derecho.",
        "Right pleural effusion measuring 2.5 cm with compressive atelectasis of the right lower lobe.",
    ),
    (
        "Nódulo de 8 mm en el LSD y otro de 4 mm en la língula.",
        "8 mm nodule in the right upper lobe and another of 4 mm in the lingula.",
    ),
    ("Consolidación en LII con broncograma aéreo.", "Consolidation in the left lower lobe with air bronchogram."),
    ("Resto sin alteraciones.", "The remainder is unremarkable."),
    ("Parénquima pulmonar sin hallazgos significativos.", "The lung parenchyma is normal."),
    ("Sin cambios respecto a estudio previo.", "Unchanged from the previous study."),
    ("Sin cambios respecto a TC de [DATE].", "No changes compared with CT of [DATE]."),
    ("TC de tórax sin contraste intravenoso.", "Unenhanced chest CT."),
    ("TC torácico realizado sin administración de contraste.", "Chest CT performed without contrast."),
    (
        "Adenopatías hiliares izquierdas de hasta 14 mm y subcarinales de 11 mm.",
        "Left hilar lymph nodes of up to 14 mm and subcarinal nodes of 11 mm.",
    ),
    (
        "Cardiomegalia. Aorta ascendente de 4,2 cm. No hay signos de disección.",
        "Cardiomegaly. Ascending aorta measuring 4.2 cm. There are no signs of dissection.",
    ),
    ("Se descarta neumotórax.", "Pneumothorax is ruled out."),
    (
        "Patrón en vidrio deslustrado bilateral de predominio en lóbulos inferiores.",
        "Bilateral ground-glass pattern, predominantly in the lower lobes.",
    ),
    ("Bronquiectasias cilíndricas en lóbulo medio.", "Cylindrical bronchiectasis in the right middle lobe."),
    (
        "Enfisema centroacinar de predominio en ambos lóbulos superiores.",
        "Centrilobular emphysema predominating in both upper lobes.",
    ),
    ("Fractura de los arcos costales 5º y 6º derechos.", "Fractures of the right 5th and 6th ribs."),
    (
        "Acuñamiento de D12 y L1, ya presente en el estudio previo.",
        "Wedging of T12 and L1, already present in the previous study.",
    ),
    ("Dos nódulos en el lóbulo superior izquierdo.", "2 nodules in the left upper lobe."),
    ("Escoliosis dorsal de convexidad derecha.", "Thoracic scoliosis convex to the right."),
    ("Quiste hepático de 3 x 2,4 cm en el segmento IV.", "A 3 x 2.4 cm hepatic cyst in segment 4."),
    ("No se identifica derrame pleural ni pericárdico.", "Neither pleural nor pericardial effusion is identified."),
    (
        "Hígado, bazo y páncreas sin alteraciones. Riñones de tamaño normal.",
        "Liver, spleen and pancreas without abnormalities. Kidneys of normal size.",
    ),
    ("Vía aérea central permeable.", "The central airway is patent."),
    ("No se aprecia ningún nódulo sospechoso.", "No suspicious nodule is seen."),
    ("Paciente que niega disnea. Sin fiebre.", "The patient denies dyspnea. No fever."),
    (
        "Catéter venoso central con extremo en aurícula derecha.",
        "Central venous catheter with its tip in the right atrium.",
    ),
    (
        "Opacidades en vidrio deslustrado en ambos pulmones, mayores en el derecho que en el izquierdo.",
        "Ground-glass opacities in both lungs, greater on the right than on the left.",
    ),
    ("No lesiones óseas sospechosas.", "No suspicious bone lesions."),
    ("No se puede descartar sobreinfección.", "Superinfection cannot be ruled out."),
    ("Hallazgos no concluyentes para neumonía COVID-19.", "Findings inconclusive for COVID-19 pneumonia."),
    (
        "Cambios degenerativos en columna dorsal. Granuloma calcificado de 3 mm en LID.",
        "Degenerative changes in the thoracic spine. Calcified 3 mm granuloma in the RLL.",
    ),
    (
        (
            "Se realiza TC de tórax con 80 ml de contraste. Comparado con estudio de [DATE], el nódulo del LSI ha"
            " crecido de 6 a 9 mm."
        ),
        (
            "Chest CT is performed with 80 ml of contrast. Compared with the study of [DATE], the LUL nodule has grown"
            " from 6 to 9 mm."
        ),
    ),
    (
        "Pequeña hernia de hiato. Colelitiasis sin signos de colecistitis.",
        "Small hiatal hernia. Cholelithiasis without signs of cholecystitis.",
    ),
    ("Engrosamiento pleural apical bilateral. No derrame.", "Bilateral apical pleural thickening. No effusion."),
    ("Leucocitos 14.610/mm3 y plaquetas 206.000/mm3.", "Leukocytes 14,610/mm3 and platelets 206,000/mm3."),
    (
        "La arteria pulmonar principal mide 33 mm, sugestivo de hipertensión pulmonar.",
        "The main pulmonary artery measures 33 mm, suggesting pulmonary hypertension.",
    ),
    (
        "Tubo endotraqueal a 4 cm de la carina. Sonda nasogástrica normoposicionada.",
        "Endotracheal tube 4 cm above the carina. Nasogastric tube in good position.",
    ),
    (
        "Masa de 5,3 x 4,1 cm en lóbulo superior derecho que contacta con la pleura, sin infiltrar la pared torácica.",
        "5.3 x 4.1 cm mass in the right upper lobe abutting the pleura, without chest wall invasion.",
    ),
    (
        "Suprarrenales normales. No adenopatías retroperitoneales. No líquido libre.",
        "Normal adrenal glands. No retroperitoneal adenopathy. No free fluid.",
    ),
    ("Senos costofrénicos libres.", "Costophrenic angles are clear."),
    (
        "Atelectasias laminares en base izquierda y mínimo derrame pleural ipsilateral.",
        "Laminar atelectasis in the left base and minimal ipsilateral pleural effusion.",
    ),
    (
        "Neumotórax izquierdo de 2 cm con tubo de drenaje; resolución del derrame derecho.",
        "Left pneumothorax of 2 cm with a chest tube; resolution of the right effusion.",
    ),
    (
        "Dr. [NAME] solicita control. Estudio comparado con el de [DATE].",
        "Dr. [NAME] requests follow-up. Study compared with that of [DATE].",
    ),
    (
        "No se visualizan adenopatías axilares, hiliares ni mediastínicas de tamaño significativo.",
        "No axillary, hilar or mediastinal lymph nodes of significant size are visualized.",
    ),
    (
        "Imagen nodular no calcificada de 7 mm en segmento 6 izquierdo.",
        "Noncalcified 7 mm nodular image in left segment 6.",
    ),
    (
        "Índice cardiotorácico aumentado. Hilios de morfología normal.",
        "Increased cardiothoracic ratio. Hila of normal morphology.",
    ),
    ("Calcificaciones coronarias. Válvula aórtica calcificada.", "Coronary calcifications. Calcified aortic valve."),
    ("Sin otros hallazgos de interés.", "No other findings of interest."),
    (
        "Conclusión: neumonía bilateral por COVID-19 con afectación del 50-75 % del parénquima, sin signos de TEP.",
        "Conclusion: bilateral COVID-19 pneumonia involving 50-75% of the parenchyma, with no signs of PE.",
    ),
    ("Se aconseja control en 3 meses.", "Follow-up in three months is recommended."),
    (
        "Elevación del hemidiafragma derecho. Marcapasos izquierdo con electrodos en aurícula y ventrículo derechos.",
        "Elevated right hemidiaphragm. Left pacemaker with leads in the right atrium and ventricle.",
    ),
    (
        "Mastectomía izquierda. No se observan signos de recidiva local ni lesiones a distancia.",
        "Left mastectomy. There are no signs of local recurrence or distant lesions.",
    ),
    (
        "Nódulo tiroideo de 1,8 cm en lóbulo izquierdo con desviación traqueal hacia la derecha.",
        "1.8 cm thyroid nodule in the left lobe with tracheal deviation to the right.",
    ),
    (
        "Lesión focal hepática no caracterizable en este estudio.",
        "Focal liver lesion that cannot be characterized on this study.",
    ),
    (
        "Aumento de densidad en base derecha, que podría corresponder a infiltrado; no se observa derrame asociado.",
        "Increased density in the right base, which may represent an infiltrate; no associated effusion is seen.",
    ),
    (
        "Tórax sin condensaciones. Silueta cardíaca normal. Placas de ateroma en cayado aórtico.",
        "No consolidations in the chest. Normal cardiac silhouette. Atheromatous plaques in the aortic arch.",
    ),
    ("Vesícula no visualizada por colecistectomía.", "Gallbladder not visualized owing to cholecystectomy."),
    (
        "Tromboembolismo en arterias segmentarias del lóbulo inferior izquierdo, sin sobrecarga de cavidades derechas.",
        "Emboli in the segmental arteries of the left lower lobe, without right heart strain.",
    ),
    (
        "En comparación con [DATE] han desaparecido los infiltrados y persiste un nódulo de 12 mm.",
        "Compared with [DATE] the infiltrates have cleared and a 12 mm nodule persists.",
    ),
    ("El nódulo no ha aumentado de tamaño.", "The nodule has not increased in size."),
)

# typed after the rules were fixed: the rules were not changed for them
HELD_OUT = (
    (
        "Estudio sin contraste, limitado por movimientos respiratorios.",
        "Non-contrast study limited by respiratory motion.",
    ),
    ("No existen signos de patología aguda.", "No acute disease."),
    (
        "Infiltrados parcheados periféricos en LSI y en ambas bases.",
        "Patchy peripheral infiltrates in the left upper lobe and both bases.",
    ),
    (
        "Se aprecian tres imágenes nodulares subpleurales, la mayor de 9 mm, en lóbulo inferior derecho.",
        "Three subpleural nodular images are seen, the largest 9 mm, in the right lower lobe.",
    ),
    (
        "No se detectan lesiones sospechosas de malignidad en el estudio actual.",
        "The current study shows no lesions suspicious for malignancy.",
    ),
    (
        "Derrame pleural bilateral, más importante en el lado derecho. Atelectasia pasiva asociada.",
        "Bilateral pleural effusion, larger on the right side. Associated passive atelectasis.",
    ),
    (
        "Estructuras vasculares mediastínicas de calibre normal, sin defectos de repleción.",
        "Mediastinal vascular structures of normal caliber with no filling defects.",
    ),
    ("Cámaras cardíacas no dilatadas.", "Cardiac chambers are of normal size."),
    ("Grasa mediastínica conservada. No adenomegalias.", "Mediastinal fat is preserved. No enlarged nodes."),
    (
        "Discreto enfisema paraseptal apical derecho. Tractos fibrosos residuales en LM y língula.",
        "Mild right apical paraseptal emphysema. Residual fibrous tracts in the middle lobe and lingula.",
    ),
    (
        "Se compara con TC previo del [DATE], sin objetivarse progresión.",
        "Compared with prior CT dated [DATE], no progression is observed.",
    ),
    (
        "La lesión del segmento VI derecho mide 2,1 cm (previo 1,8 cm).",
        "The right segment VI lesion measures 2.1 cm (previously 1.8 cm).",
    ),
    (
        "Esternotomía media y prótesis valvular mitral. Cardiomegalia a expensas de aurícula izquierda.",
        "Median sternotomy and mitral valve prosthesis. Cardiomegaly due to left atrial enlargement.",
    ),
    (
        "Imagen de 15 mm que no capta contraste, compatible con quiste simple.",
        "15 mm non-enhancing image consistent with a simple cyst.",
    ),
    (
        "Glándula suprarrenal izquierda engrosada; la derecha no muestra alteraciones.",
        "Thickened left adrenal gland; the right one is unremarkable.",
    ),
    (
        "Mínima cantidad de líquido en receso pericárdico superior, sin significado patológico.",
        "Minimal fluid in the superior pericardial recess, not pathological.",
    ),
    (
        "Signos de hipertensión pulmonar: tronco de 34 mm. VD dilatado.",
        "Signs of pulmonary hypertension: trunk of 34 mm. Dilated right ventricle.",
    ),
    (
        "Fracturas costales antiguas consolidadas 7ª, 8ª y 9ª izquierdas.",
        "Old healed fractures of the left 7th, 8th and 9th ribs.",
    ),
    (
        "No se puede valorar adecuadamente el parénquima por artefactos.",
        "The parenchyma cannot be adequately assessed because of artifacts.",
    ),
    (
        "Ganglios menores de un centímetro en ventana aortopulmonar, inespecíficos.",
        "Subcentimetre nodes in the aortopulmonary window, nonspecific.",
    ),
    (
        "Paciente intervenido de neoplasia de colon, sin evidencia de enfermedad metastásica.",
        "Patient operated on for colon cancer, with no evidence of metastatic disease.",
    ),
    (
        "Persisten las opacidades del pulmón izquierdo, habiendo desaparecido las del derecho.",
        "The opacities in the left lung persist, while those on the right have resolved.",
    ),
    (
        "Hemangioma vertebral en D8. Resto de estructuras óseas sin alteraciones valorables.",
        "Vertebral hemangioma at T8. Remaining bony structures without appreciable abnormalities.",
    ),
    (
        "Trombo en la arteria lobar inferior derecha con extensión a las segmentarias; no hay infarto asociado.",
        "Thrombus in the right lower lobar artery extending to the segmental branches; there is no associated infarct.",
    ),
)
