"""A generated archive, filled by the database itself: studies of one or two images, as stored files make them."""

from __future__ import annotations

import secrets
import sys
from typing import Any

ROOT = "1.2.826.0.1.3680043.10.1"
SLICES = 120  # of the one long study

# Every number follows from the study's own: three studies a patient, 4,000 days, three modalities.
FILL = """
CREATE TEMP TABLE n AS SELECT g AS k, (ARRAY['MG', 'DX', 'CT'])[1 + g %% 3] AS modality,
    date '2014-01-01' + g * 7919 %% 4000 AS day
    FROM generate_series(%(first)s::int, %(last)s::int) g;
ANALYZE n;
INSERT INTO archive_patient (organisation_id, pseudonym, name, sex, risk_factors, phonetic)
SELECT %(org)s, 'P-' || k, 'Anon^' || chr(65 + k %% 26) || 'lpha' || k, CASE WHEN k %% 2 = 0 THEN 'F' ELSE 'M' END,
    '{}', '{}'
FROM (SELECT DISTINCT k / 3 AS k FROM n) p ON CONFLICT DO NOTHING;
ANALYZE archive_patient;
INSERT INTO archive_study (organisation_id, patient_id, state, state_since, study_uid, study_date, study_time,
    accession, description, modalities, body_part, patient_age, priority, headers, series_count, instance_count,
    revision, arrived_at, last_instance_at, quality_parts, opinions)
SELECT %(org)s, p.id, 'settled', now(), %(root)s || '.1.' || k, day, lpad((k %% 24)::text, 2, '0') || '1500', 'A' || k,
    'Screening ' || k, ARRAY[modality], 'BREAST', 61, 0, jsonb_build_object(
        '00080005', '{"vr":"CS","Value":["ISO_IR 192"]}'::jsonb,
        '00080020', jsonb_build_object('vr', 'DA', 'Value', jsonb_build_array(to_char(day, 'YYYYMMDD'))),
        '00080030', jsonb_build_object('vr', 'TM', 'Value', jsonb_build_array(lpad((k %% 24)::text, 2, '0') || '1500')),
        '00080050', jsonb_build_object('vr', 'SH', 'Value', jsonb_build_array('A' || k)),
        '00080090', '{"vr":"PN"}'::jsonb,
        '00081030', jsonb_build_object('vr', 'LO', 'Value', jsonb_build_array('Screening ' || k)),
        '00100010', jsonb_build_object('vr', 'PN', 'Value',
            jsonb_build_array(jsonb_build_object('Alphabetic', p.name))),
        '00100020', jsonb_build_object('vr', 'LO', 'Value', jsonb_build_array(p.pseudonym)),
        '00100030', '{"vr":"DA"}'::jsonb,
        '00100040', jsonb_build_object('vr', 'CS', 'Value', jsonb_build_array(p.sex)),
        '00101010', '{"vr":"AS","Value":["061Y"]}'::jsonb,
        '0020000D', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array(%(root)s || '.1.' || k)),
        '00200010', jsonb_build_object('vr', 'SH', 'Value', jsonb_build_array('S' || k))),
    1, CASE modality WHEN 'CT' THEN 2 ELSE 1 END, 1, now(), now(), '[]', false
FROM n JOIN archive_patient p ON p.organisation_id = %(org)s AND p.pseudonym = 'P-' || (k / 3) ORDER BY k
ON CONFLICT DO NOTHING;
ANALYZE archive_study;
INSERT INTO archive_series (organisation_id, study_id, series_uid, modality, number, description, body_part, headers,
    instance_count, metadata_revision, given_modality, given_body_part, set_aside, opinion)
SELECT %(org)s, s.id, %(root)s || '.2.' || k, modality, 1, 'Series ' || k, 'BREAST', jsonb_build_object(
        '0020000D', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array(s.study_uid)),
        '00080060', jsonb_build_object('vr', 'CS', 'Value', jsonb_build_array(modality)),
        '0008103E', jsonb_build_object('vr', 'LO', 'Value', jsonb_build_array('Series ' || k)),
        '00180015', '{"vr":"CS","Value":["BREAST"]}'::jsonb,
        '0020000E', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array(%(root)s || '.2.' || k)),
        '00200011', '{"vr":"IS","Value":[1]}'::jsonb), s.instance_count, 0, '', '', false, false
FROM n JOIN archive_study s ON s.organisation_id = %(org)s AND s.study_uid = %(root)s || '.1.' || k ORDER BY k
ON CONFLICT DO NOTHING;
ANALYZE archive_series;
INSERT INTO archive_instance (organisation_id, study_id, series_id, sop_uid, sop_class, transfer_syntax, number, rows,
    columns, frames, laterality, view, headers, name, size, sha256, frame_table, stored_at, opinion)
SELECT %(org)s, e.study_id, e.id, e.series_uid || '.' || i, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', i, 512,
    512, 1, '', '', s.headers || e.headers || jsonb_build_object(
        '00080008', '{"vr":"CS","Value":["ORIGINAL","PRIMARY","AXIAL"]}'::jsonb,
        '00080016', '{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]}'::jsonb,
        '00080018', jsonb_build_object('vr', 'UI', 'Value', jsonb_build_array(e.series_uid || '.' || i)),
        '00083002', '{"vr":"UI","Value":["1.2.840.10008.1.2.1"]}'::jsonb,
        '00200013', jsonb_build_object('vr', 'IS', 'Value', jsonb_build_array(i)),
        '00280010', '{"vr":"US","Value":[512]}'::jsonb, '00280011', '{"vr":"US","Value":[512]}'::jsonb,
        '00280100', '{"vr":"US","Value":[16]}'::jsonb,
        '00180050', '{"vr":"DS","Value":[1.25]}'::jsonb, '00180060', '{"vr":"DS","Value":[120.0]}'::jsonb,
        '00200032', '{"vr":"DS","Value":[-125.0,-125.0,10.5]}'::jsonb,
        '00280030', '{"vr":"DS","Value":[0.488,0.488]}'::jsonb), '', 1, '', '[]', now(), false
FROM n JOIN archive_series e ON e.organisation_id = %(org)s AND e.series_uid = %(root)s || '.2.' || k
JOIN archive_study s ON s.id = e.study_id
CROSS JOIN LATERAL generate_series(1, CASE WHEN k = 0 THEN %(slices)s ELSE s.instance_count END) i ORDER BY k, i
ON CONFLICT DO NOTHING;
UPDATE archive_series SET instance_count = %(slices)s WHERE series_uid = %(root)s || '.2.0';
UPDATE archive_study SET instance_count = %(slices)s WHERE study_uid = %(root)s || '.1.0';
DROP TABLE n;
"""


def fill(first: int, last: int) -> None:
    """Studies number `first` to `last` of the organisation `bench`; number 0 has one series of SLICES images."""
    from django.db import connection

    from portal.accounts.models import Organisation

    org, _ = Organisation.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    values: dict[str, Any] = {"org": org.pk, "first": first, "last": last, "root": ROOT, "slices": SLICES}
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_study DISABLE TRIGGER USER")  # the audit of generated rows tells nothing
        for statement in FILL.split(";\n"):
            if statement.strip():
                cursor.execute(statement, values)
        cursor.execute("ALTER TABLE archive_study ENABLE TRIGGER USER")
        cursor.execute("VACUUM ANALYZE archive_patient, archive_study, archive_series, archive_instance")


def token() -> str:
    """A token that may read the generated archive."""
    from portal.accounts.authentication import digest
    from portal.accounts.models import ApiToken, Membership, Organisation, User

    org = Organisation.objects.get(slug="bench")
    person, _ = User.objects.get_or_create(username="bench-reader")
    Membership.objects.get_or_create(user=person, organisation=org, defaults={"roles": ["pacs_admin"]})
    value = secrets.token_urlsafe(32)
    ApiToken.objects.create(user=person, organisation=org, name="bench", digest=digest(value), prefix=value[:8])
    return value


if __name__ == "__main__":
    import django

    django.setup()
    fill(int(sys.argv[1]), int(sys.argv[2]))
    print(token())
