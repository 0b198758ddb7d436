from django.db import migrations


class Migration(migrations.Migration):
    """The identity zone's public key is the core's from now on: the table keeps its row under a new name."""

    dependencies = [
        ('peers', '0003_outgoing'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.AlterModelTable(name='zonekey', table='core_zonekey')],
            state_operations=[migrations.DeleteModel(name='ZoneKey')],
        ),
    ]
