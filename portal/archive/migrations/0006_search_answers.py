"""Searches read what the database made of each row when it was written; names are also found by how they sound."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models

from portal.archive.names import phonetic

# Declared immutable, which generated columns ask for: they read nothing but their arguments. Retrieve URLs begin at
# the server's root; the server puts its address before them (archive/qido.py).
FUNCTIONS = """
CREATE FUNCTION concord_pick(headers jsonb, tags text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(headers) WHERE key = ANY (tags)
$$;
CREATE FUNCTION concord_study_answer(headers jsonb, uid text, modalities text[], series int, instances int)
RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN
    RETURN (headers || jsonb_build_object(
        '00080056', '{"vr": "CS", "Value": ["ONLINE"]}'::jsonb,
        '00080061', CASE WHEN cardinality(modalities) > 0
            THEN jsonb_build_object('vr', 'CS', 'Value', to_jsonb(modalities)) ELSE '{"vr": "CS"}' END,
        '00081190', jsonb_build_object('vr', 'UR', 'Value', jsonb_build_array('/dicomweb/studies/' || uid)),
        '0020000D', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array(uid)),
        '00201206', jsonb_build_object('vr', 'IS', 'Value', jsonb_build_array(series)),
        '00201208', jsonb_build_object('vr', 'IS', 'Value', jsonb_build_array(instances))))::text;
END $$;
CREATE FUNCTION concord_series_answer(headers jsonb, uid text, modality text, instances int)
RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN
    RETURN (headers || jsonb_build_object(
        '00080056', '{"vr": "CS", "Value": ["ONLINE"]}'::jsonb,
        '00080060', CASE WHEN modality > ''
            THEN jsonb_build_object('vr', 'CS', 'Value', jsonb_build_array(modality)) ELSE '{"vr": "CS"}' END,
        '00081190', jsonb_build_object('vr', 'UR', 'Value', jsonb_build_array(
            '/dicomweb/studies/' || coalesce(headers #>> '{0020000D,Value,0}', '') || '/series/' || uid)),
        '0020000E', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array(uid)),
        '00201209', jsonb_build_object('vr', 'IS', 'Value', jsonb_build_array(instances))))::text;
END $$;
CREATE FUNCTION concord_instance_answer(headers jsonb, uid text)
RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        '00080005', headers -> '00080005', '00080016', headers -> '00080016', '00080201', headers -> '00080201',
        '00083002', headers -> '00083002', '0020000D', headers -> '0020000D', '0020000E', headers -> '0020000E',
        '00200013', headers -> '00200013', '00280008', headers -> '00280008', '00280010', headers -> '00280010',
        '00280011', headers -> '00280011', '00280100', headers -> '00280100',
        '00080018', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array(uid)),
        '00080056', '{"vr": "CS", "Value": ["ONLINE"]}'::jsonb,
        '00081190', jsonb_build_object('vr', 'UR', 'Value', jsonb_build_array(
            '/dicomweb/studies/' || coalesce(headers #>> '{0020000D,Value,0}', '') || '/series/'
            || coalesce(headers #>> '{0020000E,Value,0}', '') || '/instances/' || uid))))::text;
END $$;
"""
DROP = """
DROP FUNCTION concord_instance_answer(jsonb, text);
DROP FUNCTION concord_series_answer(jsonb, text, text, int);
DROP FUNCTION concord_study_answer(jsonb, text, text[], int, int);
DROP FUNCTION concord_pick(jsonb, text[]);
"""
# What answers take from the header alone must stand there: the study of a series, and the pseudonym of a patient.
COMPLETE = """
UPDATE archive_series e
SET headers = e.headers || jsonb_build_object('0020000D', jsonb_build_object('vr', 'UI', 'Value', ARRAY[s.study_uid]))
FROM archive_study s WHERE s.id = e.study_id;
UPDATE archive_study s
SET headers = s.headers || jsonb_build_object('00100020', jsonb_build_object('vr', 'LO', 'Value', ARRAY[p.pseudonym]))
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
        migrations.AddIndex(
            "study",
            models.Index(
                models.F("organisation"),
                models.F("study_date").desc(nulls_last=True),
                models.F("id").desc(),
                name="study_latest",
            ),
        ),
        migrations.AddIndex("series", models.Index(fields=["organisation", "-id"], name="series_newest")),
        migrations.AddIndex("instance", models.Index(fields=["organisation", "-id"], name="instance_newest")),
    ]
