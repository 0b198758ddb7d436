"""Searches read what the database made of each row when it was written; names are also found by how they sound."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models

from portal.archive.names import phonetic

# Declared immutable, which generated columns ask for: they read nothing but their arguments. Retrieve URLs begin at
# the server's root; the server puts its address before them (archive/qido.py).
FUNCTIONS = """
CREATE FUNCTION concord_element(vr text, value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_object('vr', vr, 'Value', jsonb_build_array(value))
$$;
CREATE FUNCTION concord_pick(headers jsonb, tags text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(headers) WHERE key = ANY (tags)
$$;
CREATE FUNCTION concord_study_answer(headers jsonb, uid text, modalities text[], series int, instances int)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (headers || jsonb_build_object(
        '00080056', concord_element('CS', '"ONLINE"'),
        '00080061', CASE WHEN cardinality(modalities) > 0
            THEN jsonb_build_object('vr', 'CS', 'Value', to_jsonb(modalities)) ELSE '{"vr": "CS"}' END,
        '00081190', concord_element('UR', to_jsonb('/dicomweb/studies/' || uid)),
        '0020000D', concord_element('UI', to_jsonb(uid)),
        '00201206', concord_element('IS', to_jsonb(series)),
        '00201208', concord_element('IS', to_jsonb(instances))))::text
$$;
CREATE FUNCTION concord_series_answer(headers jsonb, uid text, modality text, instances int)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (headers || jsonb_build_object(
        '00080056', concord_element('CS', '"ONLINE"'),
        '00080060', CASE WHEN modality > '' THEN concord_element('CS', to_jsonb(modality)) ELSE '{"vr": "CS"}' END,
        '00081190', concord_element('UR', to_jsonb('/dicomweb/studies/' || coalesce(
            headers #>> '{0020000D,Value,0}', '') || '/series/' || uid)),
        '0020000E', concord_element('UI', to_jsonb(uid)),
        '00201209', concord_element('IS', to_jsonb(instances))))::text
$$;
CREATE FUNCTION concord_instance_answer(headers jsonb, uid text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (concord_pick(headers, '{00080005,00080016,00080201,00083002,0020000D,0020000E,00200013,00280008,00280010,
            00280011,00280100}') || jsonb_build_object(
        '00080018', concord_element('UI', to_jsonb(uid)),
        '00080056', concord_element('CS', '"ONLINE"'),
        '00081190', concord_element('UR', to_jsonb('/dicomweb/studies/' || coalesce(
            headers #>> '{0020000D,Value,0}', '') || '/series/' || coalesce(headers #>> '{0020000E,Value,0}', '')
            || '/instances/' || uid))))::text
$$;
"""
DROP = """
DROP FUNCTION concord_instance_answer(jsonb, text);
DROP FUNCTION concord_series_answer(jsonb, text, text, int);
DROP FUNCTION concord_study_answer(jsonb, text, text[], int, int);
DROP FUNCTION concord_pick(jsonb, text[]);
DROP FUNCTION concord_element(text, jsonb);
"""
# What answers take from the header alone must stand there: the study of a series, and the pseudonym of a patient.
COMPLETE = """
UPDATE archive_series e SET headers = e.headers || jsonb_build_object('0020000D', concord_element('UI', to_jsonb(s.study_uid)))
FROM archive_study s WHERE s.id = e.study_id;
UPDATE archive_study s SET headers = s.headers || jsonb_build_object('00100020', concord_element('LO', to_jsonb(p.pseudonym)))
FROM archive_patient p WHERE p.id = s.patient_id;
"""


def sound(apps, schema_editor):
    rows = apps.get_model("archive", "Patient").objects.exclude(name="").only("name")
    for patient in rows.iterator():
        patient.phonetic = phonetic(patient.name)
        patient.save(update_fields=["phonetic"])


def answer(level, *columns):
    made = models.Func(*columns, function=f"concord_{level}_answer", output_field=models.TextField())
    return models.GeneratedField(expression=made, output_field=models.TextField(), db_persist=True)


class Migration(migrations.Migration):
    dependencies = [("archive", "0005_given_category")]

    operations = [
        migrations.RunSQL(FUNCTIONS, DROP),
        migrations.RunSQL(COMPLETE, migrations.RunSQL.noop),
        migrations.AddField(
            "patient",
            "phonetic",
            django.contrib.postgres.fields.ArrayField(models.CharField(max_length=4), default=list, size=None),
        ),
        migrations.RunPython(sound, migrations.RunPython.noop),
        migrations.AddField(
            "study", "answer", answer("study", "headers", "study_uid", "modalities", "series_count", "instance_count")
        ),
        migrations.AddField("series", "answer", answer("series", "headers", "series_uid", "modality", "instance_count")),
        migrations.AddField("instance", "answer", answer("instance", "headers", "sop_uid")),
        migrations.RemoveIndex("patient", "patient_pseudonym"),
        migrations.RemoveIndex("study", "study_accession"),
        migrations.AddIndex(
            "patient",
            models.Index(
                fields=["organisation", "pseudonym"], name="patient_pseudonym", opclasses=["int8_ops", "text_pattern_ops"]
            ),
        ),
        migrations.AddIndex(
            "patient", django.contrib.postgres.indexes.GinIndex(fields=["phonetic"], name="patient_phonetic")
        ),
        migrations.AddIndex(
            "study",
            models.Index(
                fields=["organisation", "accession"], name="study_accession", opclasses=["int8_ops", "text_pattern_ops"]
            ),
        ),
        migrations.AddIndex("series", models.Index(fields=["organisation", "-id"], name="series_newest")),
        migrations.AddIndex("instance", models.Index(fields=["organisation", "-id"], name="instance_newest")),
    ]
