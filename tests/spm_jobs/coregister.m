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
jobs{1}.spm.spatial.coreg.estimate.ref = {...
['{folder}/spm/T1w.nii'];...
};
jobs{1}.spm.spatial.coreg.estimate.source = {...
['{folder}/spm/boldref.nii'];...
};
jobs{1}.spm.spatial.coreg.estimate.eoptions.cost_fun = 'nmi';
jobs{1}.spm.spatial.coreg.estimate.eoptions.fwhm(1) = 7.0;
jobs{1}.spm.spatial.coreg.estimate.eoptions.fwhm(2) = 7.0;
jobs{1}.spm.spatial.coreg.estimate.eoptions.sep(1) = 4.0;
jobs{1}.spm.spatial.coreg.estimate.eoptions.sep(2) = 2.0;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(1) = 0.02;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(2) = 0.02;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(3) = 0.02;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(4) = 0.001;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(5) = 0.001;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(6) = 0.001;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(7) = 0.01;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(8) = 0.01;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(9) = 0.01;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(10) = 0.001;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(11) = 0.001;
jobs{1}.spm.spatial.coreg.estimate.eoptions.tol(12) = 0.001;
jobs{1}.spm.spatial.coreg.estimate.roptions.prefix = 'r';
spm_jobman('run', jobs);
  fprintf('conceptrsa: script finished\n');
catch problem
  fprintf('conceptrsa: SPM stopped with an error: %s\n', problem.message);
  for level = 1:numel(problem.stack)
    fprintf('  in %s, line %d\n', problem.stack(level).name, problem.stack(level).line);
  end
  exit(1);
end
