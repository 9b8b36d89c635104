complete -c p2v-transfer -l target -d 'The target: the RAM-booted instance\'s name or address [default user: root]' -r -f -a "(__fish_print_hostnames)"
complete -c p2v-transfer -l port -d 'SSH port of the target' -r
complete -c p2v-transfer -l identity -d 'Private key that the target knows [default: ssh\'s own choice]' -r -F
complete -c p2v-transfer -l host-key -d 'Fingerprint of the target\'s host key, as create and the target\'s console say it; may be repeated [default: ask]' -r -f
complete -c p2v-transfer -l source -d 'Disk, or a disk\'s image, of the source; may be repeated, the one it starts from first [default: every disk of this machine]' -r -F
complete -c p2v-transfer -l plan -d 'Follow this plan, as --save-plan writes it [default: the source\'s own layout, scaled]' -r -F
complete -c p2v-transfer -l save-plan -d 'Write the plan to this file, to be edited' -r -F
complete -c p2v-transfer -l hostname -d 'What becomes of the machine\'s name: kept, or the instance\'s; a plan that is given says it itself' -r -f -a "keep\t''
instance\t''"
complete -c p2v-transfer -l compress -d 'When contents are compressed on their way; adaptive: when the link is slower than compressing' -r -f -a "adaptive\t''
always\t''
never\t''"
complete -c p2v-transfer -l progress -d 'How progress is shown: as a bar on standard error (a line every 10 seconds where that is no terminal), or about once a second as JSON on standard output [default: bar; none with --quiet]' -r -f -a "bar\t''
json\t''
none\t''"
complete -c p2v-transfer -l report-dir -d 'Directory for the report; made if it is missing' -r -f -a "(__fish_complete_directories)"
complete -c p2v-transfer -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v-transfer -l dry-run -d 'Stop before the first write'
complete -c p2v-transfer -l yes -d 'Do not ask before the target\'s disks are erased'
complete -c p2v-transfer -l take-over -d 'End another transfer that is at work on the target; one that works may be lost'
complete -c p2v-transfer -l seed -d 'Only copy; a later run copies what has changed by then, and finishes'
complete -c p2v-transfer -l verify -d 'Compare both sides file by file after the copy'
complete -c p2v-transfer -l no-restart -d 'Leave the target running in RAM at the end'
complete -c p2v-transfer -l status -d 'Only say how far a transfer to this target came'
complete -c p2v-transfer -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v-transfer -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v-transfer -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v-transfer -s V -l version -d 'Print version'
