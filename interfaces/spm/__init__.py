"""SPM12's steps, run so that a step that did not do its work is never taken for done."""
