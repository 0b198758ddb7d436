from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('infer', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='priority',
            field=models.SmallIntegerField(default=0),
        ),
        # runs that wait when this comes need not be prepared first: the gpu worker does it
        migrations.AddField(
            model_name='run',
            name='ready',
            field=models.BooleanField(default=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='ready',
            field=models.BooleanField(default=False),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('ready', True), ('state', 'queued')), fields=['-priority', 'queued_at'], name='run_waiting'),
        ),
    ]
