"""Rename `Generation.asked` to `requested`. The column keeps its name, so nothing changes in the database."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inpainting', '0018_lora_repo'),
    ]

    operations = [
        migrations.AlterField(
            model_name='generation',
            name='asked',
            field=models.JSONField(db_column='asked', default=dict, help_text='engine and settings as sent; empty: the same as the resolved ones'),
        ),
        migrations.RenameField(
            model_name='generation',
            old_name='asked',
            new_name='requested',
        ),
    ]
