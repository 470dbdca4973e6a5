try
  [spm_name, spm_release] = spm('Ver');
  fprintf('conceptrsa: %s release %s\n', spm_name, spm_release);
  spm('defaults', 'fmri');
  spm_jobman('initcfg');
  spm_get_defaults('cmdline', true);
  % Voxels at a time: SPM's gigabyte is held several times over, and takes longer.
  spm_get_defaults('stats.maxmem', 2^28);
  % MATLAB takes every processor unless told otherwise; other interpreters lack the function.
  try, maxNumCompThreads(1); end
clear jobs
jobs{1}.spm.stats.fmri_spec.dir = {...
'{folder}';...
};
jobs{1}.spm.stats.fmri_spec.timing.units = 'secs';
jobs{1}.spm.stats.fmri_spec.timing.RT = 3.0;
jobs{1}.spm.stats.fmri_spec.timing.fmri_t = 16;
jobs{1}.spm.stats.fmri_spec.timing.fmri_t0 = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).scans = {...
'{folder}/run.nii,1';...
'{folder}/run.nii,2';...
'{folder}/run.nii,3';...
};
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).name = 'fixation';
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).onset(1) = 0.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).onset(2) = 33.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).duration(1) = 6.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).duration(2) = 6.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(2).name = 'one-back';
jobs{1}.spm.stats.fmri_spec.sess(1).cond(2).onset(1) = 15.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(2).duration(1) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(3).name = 'stimulus:n01_b';
jobs{1}.spm.stats.fmri_spec.sess(1).cond(3).onset(1) = 6.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(3).duration(1) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(4).name = 'stimulus:n02%20%27a';
jobs{1}.spm.stats.fmri_spec.sess(1).cond(4).onset(1) = 24.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(4).duration(1) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).multi_reg = {...
'{folder}/motion1.mat';...
};
jobs{1}.spm.stats.fmri_spec.sess(1).hpf = 128.0;
jobs{1}.spm.stats.fmri_spec.sess(2).scans = {...
'{folder}/run.nii,1';...
'{folder}/run.nii,2';...
'{folder}/run.nii,3';...
};
jobs{1}.spm.stats.fmri_spec.sess(2).cond(1).name = 'fixation';
jobs{1}.spm.stats.fmri_spec.sess(2).cond(1).onset(1) = 0.0;
jobs{1}.spm.stats.fmri_spec.sess(2).cond(1).duration(1) = 6.0;
jobs{1}.spm.stats.fmri_spec.sess(2).cond(2).name = 'one-back';
jobs{1}.spm.stats.fmri_spec.sess(2).cond(2).onset(1) = 15.0;
jobs{1}.spm.stats.fmri_spec.sess(2).cond(2).duration(1) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(2).cond(3).name = 'stimulus:n01_b';
jobs{1}.spm.stats.fmri_spec.sess(2).cond(3).onset(1) = 6.0;
jobs{1}.spm.stats.fmri_spec.sess(2).cond(3).duration(1) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(2).multi_reg = {...
'{folder}/motion2.mat';...
};
jobs{1}.spm.stats.fmri_spec.sess(2).hpf = 128.0;
jobs{1}.spm.stats.fmri_spec.bases.hrf.derivs(1) = 0;
jobs{1}.spm.stats.fmri_spec.bases.hrf.derivs(2) = 0;
jobs{1}.spm.stats.fmri_spec.volt = 1;
jobs{1}.spm.stats.fmri_spec.global = 'none';
jobs{1}.spm.stats.fmri_spec.cvi = 'AR(1)';
jobs{1}.spm.stats.fmri_spec.mthresh = -inf;
jobs{1}.spm.stats.fmri_spec.mask = {...
'{folder}/mask_explicit.nii,1';...
};
spm_jobman('run', jobs);
  fprintf('conceptrsa: script finished\n');
catch problem
  fprintf('conceptrsa: SPM stopped with an error: %s\n', problem.message);
  for level = 1:numel(problem.stack)
    fprintf('  in %s, line %d\n', problem.stack(level).name, problem.stack(level).line);
  end
  exit(1);
end
