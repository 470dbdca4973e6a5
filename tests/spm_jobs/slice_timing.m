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
jobs{1}.spm.temporal.st.scans = {...
{...
'{folder}/spm/bold.nii,1';...
'{folder}/spm/bold.nii,2';...
'{folder}/spm/bold.nii,3';...
};
};
jobs{1}.spm.temporal.st.nslices = 2;
jobs{1}.spm.temporal.st.tr = 3.0;
jobs{1}.spm.temporal.st.ta = 0.0;
jobs{1}.spm.temporal.st.so(1) = 1500.0;
jobs{1}.spm.temporal.st.so(2) = 0.0;
jobs{1}.spm.temporal.st.refslice = 1500.0;
jobs{1}.spm.temporal.st.prefix = 'a';
spm_jobman('run', jobs);
  fprintf('conceptrsa: script finished\n');
catch problem
  fprintf('conceptrsa: SPM stopped with an error: %s\n', problem.message);
  for level = 1:numel(problem.stack)
    fprintf('  in %s, line %d\n', problem.stack(level).name, problem.stack(level).line);
  end
  exit(1);
end
