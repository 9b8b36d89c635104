complete -c make-ramboot-initrd -l kernel -d 'Kernel to build for, as `uname -r` prints it there' -r -f
complete -c make-ramboot-initrd -l root -d 'Root to take the kernel\'s modules from' -r -f -a "(__fish_complete_directories)"
complete -c make-ramboot-initrd -l output -d 'File to write [default: ./ramboot-VERSION.img]' -r -F
complete -c make-ramboot-initrd -l module -d 'Module or alias to include beside those for virtual hardware; may be repeated' -r -f
complete -c make-ramboot-initrd -l compress -d 'Compression of the initrd' -r -f -a "zstd\t''
xz\t''
gzip\t''
none\t''"
complete -c make-ramboot-initrd -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c make-ramboot-initrd -l self-contained -d 'Put the root itself inside, packed: it then boots without any disk'
complete -c make-ramboot-initrd -l force -d 'Overwrite FILE'
complete -c make-ramboot-initrd -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c make-ramboot-initrd -s v -l verbose -d 'Say every command that is run, too'
complete -c make-ramboot-initrd -s h -l help -d 'Print help (see more with \'--help\')'
complete -c make-ramboot-initrd -s V -l version -d 'Print version'
