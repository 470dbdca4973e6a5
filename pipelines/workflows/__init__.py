"""Nipype workflows, one init_*_wf a step of the analysis."""
