"""Adapters: one module for each kind of place that holds a backup.

Containers: ``directory`` (files), ``objects`` (object storage), ``ltfs`` (tapes, by the drives of
``tape``). Whole volumes of Windows, see ``volume``: ``folder_copy``, ``backup_streams_folder``, and
``images`` with ``ntfs`` inside. Around any store: ``wrapping``, ``readahead``, ``recording``.
"""
