"""From an openclaw.json to extauthz: what to write, what has to be decided, and in which order to do it.

    found.py     what of OpenClaw's `gateway` block concerns us, checked for its types
    ours.py      our file from that, and the places that only its operator can fill in
    kept.py      what of the block may be copied: settings, never secrets
    block.py     the changed block, and the same as a patch
    steps.py     the six steps for this installation, and the way back
    texts.py     all of it as files
    writing.py   those files on disk: all of them or none

Nothing here prints, and no secret gets beyond kept.py.
"""
