"""Help texts of fields in plain words. Nothing changes in the database."""

import django.core.validators
import django.db.models.deletion
import inpainting.models.pictures
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inpainting', '0020_catalog_choices'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='batchitem',
            name='generation',
            field=models.OneToOneField(help_text='empty: refused or deleted', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='batch_item', to='inpainting.generation'),
        ),
        migrations.AlterField(
            model_name='batchitem',
            name='index',
            field=models.PositiveSmallIntegerField(help_text='position in the call, from 0'),
        ),
        migrations.AlterField(
            model_name='batchitem',
            name='name',
            field=models.CharField(blank=True, help_text='name of the uploaded file', max_length=255),
        ),
        migrations.AlterField(
            model_name='batchitem',
            name='refusal',
            field=models.JSONField(help_text='if it was refused: message, code, field, limit, actual', null=True),
        ),
        migrations.AlterField(
            model_name='generatedimage',
            name='hidden_file',
            field=models.FileField(blank=True, editable=False, help_text='the result before the safety checker hid it; for reviewers only', max_length=200, upload_to=inpainting.models.pictures.private_name),
        ),
        migrations.AlterField(
            model_name='generatedimage',
            name='report',
            field=models.JSONField(default=dict, help_text='window, coverage, treatment of the seam'),
        ),
        migrations.AlterField(
            model_name='generation',
            name='attempts',
            field=models.PositiveSmallIntegerField(default=0, editable=False, help_text='starts, without those that were released'),
        ),
        migrations.AlterField(
            model_name='generation',
            name='control_image',
            field=models.ForeignKey(blank=True, help_text='input of the ControlNet, in the size of the source image', null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='controlled', to='inpainting.referencepicture'),
        ),
        migrations.AlterField(
            model_name='generation',
            name='engine_reason',
            field=models.CharField(blank=True, help_text='why this engine was chosen', max_length=300),
        ),
        migrations.AlterField(
            model_name='generation',
            name='ignored',
            field=models.JSONField(default=list, help_text='settings without effect'),
        ),
        migrations.AlterField(
            model_name='generation',
            name='ip_adapter_image',
            field=models.ForeignKey(blank=True, help_text='input of the IP-Adapter', null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='adapted', to='inpainting.referencepicture'),
        ),
        migrations.AlterField(
            model_name='generation',
            name='lease_until',
            field=models.DateTimeField(editable=False, help_text='running: expiry of the lease; queued: earliest start', null=True),
        ),
        migrations.AlterField(
            model_name='generation',
            name='painted_pixels',
            field=models.PositiveBigIntegerField(default=0, help_text='number of pixels that the mask marks'),
        ),
        migrations.AlterField(
            model_name='generation',
            name='parent',
            field=models.ForeignKey(blank=True, help_text='the generation that this one runs again', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='children', to='inpainting.generation'),
        ),
        migrations.AlterField(
            model_name='generation',
            name='webhook_url',
            field=models.CharField(blank=True, help_text='called when it has ended', max_length=2000),
        ),
        migrations.AlterField(
            model_name='retention',
            name='days',
            field=models.PositiveIntegerField(blank=True, help_text='days after its end until a generation is deleted with its images; empty: never', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)]),
        ),
        migrations.AlterField(
            model_name='retention',
            name='user',
            field=models.OneToOneField(blank=True, help_text='empty: the maximum for all users', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='retention', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='sourceimage',
            name='name',
            field=models.CharField(blank=True, help_text='name of the uploaded file', max_length=255),
        ),
        migrations.AlterField(
            model_name='userlimits',
            name='stored_megabytes',
            field=models.PositiveIntegerField(blank=True, help_text='stored in all, in millions of bytes', null=True),
        ),
        migrations.AlterField(
            model_name='userlimits',
            name='user',
            field=models.OneToOneField(blank=True, help_text='empty: for all users without limits of their own', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='limits', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='userlimits',
            name='waiting',
            field=models.PositiveIntegerField(blank=True, help_text='generations queued or running at once', null=True),
        ),
        migrations.AlterField(
            model_name='webhookdelivery',
            name='data',
            field=models.JSONField(default=dict, editable=False, help_text='the body of the message'),
        ),
    ]
