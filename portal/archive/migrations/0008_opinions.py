"""What says what images show is told from images, for who reads without being told."""

from django.db import migrations, models

# as archive/rules.py said when this was written
FIND = r"""
UPDATE archive_instance SET opinion = true
WHERE sop_class ~ '^1\.2\.840\.10008\.5\.1\.4\.1\.1\.((11|88|104)\.|(30|66\.4|66\.5|66\.7|66\.8|481\.3)$)'
    OR headers #>> '{00080070,Value,0}' = 'Concord';
UPDATE archive_series e SET opinion = true
WHERE EXISTS (SELECT FROM archive_instance i WHERE i.series_id = e.id)
    AND NOT EXISTS (SELECT FROM archive_instance i WHERE i.series_id = e.id AND NOT i.opinion);
UPDATE archive_study s SET opinions = true
WHERE EXISTS (SELECT FROM archive_instance i WHERE i.study_id = s.id AND i.opinion);
"""


class Migration(migrations.Migration):
    dependencies = [("archive", "0007_cohorts")]

    operations = [
        migrations.AddField("study", "opinions", models.BooleanField(default=False)),
        migrations.AddField("series", "opinion", models.BooleanField(default=False)),
        migrations.AddField("instance", "opinion", models.BooleanField(default=False)),
        migrations.RunSQL(FIND, migrations.RunSQL.noop),
    ]
