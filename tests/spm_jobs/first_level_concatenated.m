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
'{folder}/run.nii,1';...
'{folder}/run.nii,2';...
'{folder}/run.nii,3';...
};
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).name = 'one-back';
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).onset(1) = 15.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).onset(2) = 24.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).duration(1) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(1).duration(2) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(2).name = 'stimulus:n01_b';
jobs{1}.spm.stats.fmri_spec.sess(1).cond(2).onset(1) = 6.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(2).onset(2) = 15.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(2).duration(1) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(2).duration(2) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(3).name = 'stimulus:n02%20%27a';
jobs{1}.spm.stats.fmri_spec.sess(1).cond(3).onset(1) = 24.0;
jobs{1}.spm.stats.fmri_spec.sess(1).cond(3).duration(1) = 9.0;
jobs{1}.spm.stats.fmri_spec.sess(1).multi_reg = {...
'{folder}/motion.mat';...
};
jobs{1}.spm.stats.fmri_spec.sess(1).hpf = 128.0;
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
spm_fmri_concatenate('{folder}/SPM.mat', [3 3]);
load('{folder}/SPM.mat');
load('{folder}/events.mat');
last = cumsum([3 3]);
first = [1, last(1:end-1) + 1];
for run = 1:numel(last)
  rows = first(run):last(run);
  % The grand mean of every run is 100.
  factor = SPM.xGX.GM / mean(SPM.xGX.rg(rows)) / SPM.xGX.gSF(rows(1));
  SPM.xGX.gSF(rows) = SPM.xGX.gSF(rows) * factor;
  for scan = rows
    SPM.xY.VY(scan).pinfo(1:2,:) = SPM.xY.VY(scan).pinfo(1:2,:) * factor;
    SPM.xY.VY(scan).private.dat.scl_slope = SPM.xY.VY(scan).private.dat.scl_slope * factor;
    SPM.xY.VY(scan).private.dat.scl_inter = SPM.xY.VY(scan).private.dat.scl_inter * factor;
  end
  % Responses begin and end with their run: each run's events are convolved by themselves.
  shown = find(~cellfun('isempty', onsets(run, :)));
  single = SPM;
  single.nscan = numel(rows);
  single.Sess.U = SPM.Sess.U(shown);
  for condition = 1:numel(shown)
    single.Sess.U(condition).ons = onsets{run, shown(condition)};
    single.Sess.U(condition).dur = durations{run, shown(condition)};
  end
  response = spm_Volterra(spm_get_ons(single, 1), SPM.xBF.bf, 1);
  SPM.xX.X(rows, 1:numel(SPM.Sess.U)) = 0;
  SPM.xX.X(rows, shown) = response((0:numel(rows) - 1) * SPM.xBF.T + SPM.xBF.T0 + 32, :);
end
save('{folder}/SPM.mat', 'SPM', spm_get_defaults('mat.format'));
  fprintf('conceptrsa: script finished\n');
catch problem
  fprintf('conceptrsa: SPM stopped with an error: %s\n', problem.message);
  for level = 1:numel(problem.stack)
    fprintf('  in %s, line %d\n', problem.stack(level).name, problem.stack(level).line);
  end
  exit(1);
end
