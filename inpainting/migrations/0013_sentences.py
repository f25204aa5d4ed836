from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inpainting", "0012_workers")]

    operations = [
        migrations.AddField(
            model_name="generation",
            name="sentences",
            field=models.JSONField(
                editable=False, help_text="templates and values of its messages, by their English texts", null=True
            ),
        ),
    ]
