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
jobs{1}.spm.spatial.realign.estwrite.data = {...
{...
'{folder}/spm/run01.nii,1';...
'{folder}/spm/run01.nii,2';...
'{folder}/spm/run01.nii,3';...
};
{...
'{folder}/spm/run02.nii,1';...
'{folder}/spm/run02.nii,2';...
'{folder}/spm/run02.nii,3';...
};
};
jobs{1}.spm.spatial.realign.estwrite.eoptions.quality = 0.9;
jobs{1}.spm.spatial.realign.estwrite.eoptions.fwhm = 5.0;
jobs{1}.spm.spatial.realign.estwrite.eoptions.sep = 4.0;
jobs{1}.spm.spatial.realign.estwrite.eoptions.rtm = 1;
jobs{1}.spm.spatial.realign.estwrite.eoptions.interp = 2;
jobs{1}.spm.spatial.realign.estwrite.eoptions.wrap(1) = 0;
jobs{1}.spm.spatial.realign.estwrite.eoptions.wrap(2) = 0;
jobs{1}.spm.spatial.realign.estwrite.eoptions.wrap(3) = 0;
jobs{1}.spm.spatial.realign.estwrite.roptions.which(1) = 2;
jobs{1}.spm.spatial.realign.estwrite.roptions.which(2) = 1;
jobs{1}.spm.spatial.realign.estwrite.roptions.interp = 4;
jobs{1}.spm.spatial.realign.estwrite.roptions.wrap(1) = 0;
jobs{1}.spm.spatial.realign.estwrite.roptions.wrap(2) = 0;
jobs{1}.spm.spatial.realign.estwrite.roptions.wrap(3) = 0;
jobs{1}.spm.spatial.realign.estwrite.roptions.mask = 1;
jobs{1}.spm.spatial.realign.estwrite.roptions.prefix = 'r';
spm_jobman('run', jobs);
  fprintf('conceptrsa: script finished\n');
catch problem
  fprintf('conceptrsa: SPM stopped with an error: %s\n', problem.message);
  for level = 1:numel(problem.stack)
    fprintf('  in %s, line %d\n', problem.stack(level).name, problem.stack(level).line);
  end
  exit(1);
end
