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
jobs{1}.spm.stats.fmri_est.spmmat = {...
'{folder}/SPM.mat';...
};
jobs{1}.spm.stats.fmri_est.method.Classical = 1;
jobs{1}.spm.stats.fmri_est.write_residuals = 0;
spm_jobman('run', jobs);
load('{folder}/SPM.mat');
names = SPM.xX.name; X = SPM.xX.X; whitened = full(SPM.xX.xKXs.X);
filters = arrayfun(@(K) full(K.X0), SPM.xX.K, 'UniformOutput', false);
save('{folder}/xX.mat', 'names', 'X', 'whitened', 'filters', '-v6');
  fprintf('conceptrsa: script finished\n');
catch problem
  fprintf('conceptrsa: SPM stopped with an error: %s\n', problem.message);
  for level = 1:numel(problem.stack)
    fprintf('  in %s, line %d\n', problem.stack(level).name, problem.stack(level).line);
  end
  exit(1);
end
