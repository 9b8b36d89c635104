# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_p2v_global_optspecs
    string join \n q/quiet v/verbose log-format= h/help V/version
end

function __fish_p2v_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_p2v_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_p2v_using_subcommand
    set -l cmd (__fish_p2v_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c p2v -n "__fish_p2v_needs_command" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_needs_command" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_needs_command" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_needs_command" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "create" -d 'Makes an instance\'s disk, as Ganeti\'s OS interface asks'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "import" -d 'Restores an instance\'s disk from standard input'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "export" -d 'Streams an instance\'s disk to standard output'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "rename" -d 'Gives a renamed instance\'s system its new name'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "verify" -d 'Checks the OS parameters'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "distribute" -d 'Copies the configuration and the bootstrap cache from the master to all nodes'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "initrd" -d 'Builds the initrd that moves an instance into RAM'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "transfer" -d 'Moves a physical machine into an instance that runs in RAM'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "inspect" -d 'Shows the disks and the system of a machine that is to move'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "image" -d 'Lists, builds, verifies and removes the cached bootstrap roots'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "doctor" -d 'Says what this machine lacks to be a node, a source or a target, and what to do'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "agent" -d 'Works in the target for a transfer, which starts it over SSH'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "fixes" -d 'Repairs a transferred system: what its new hardware makes wrong'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "fix" -d 'Runs one built-in fix on the root that TARGET names'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "init" -d 'Moves the root into RAM; only as PID 1 of a ramboot initrd'
complete -c p2v -n "__fish_p2v_needs_command" -f -a "ready" -d 'Checks that no disk is in use, and says on the console how to log in'
complete -c p2v -n "__fish_p2v_using_subcommand create" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand create" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand create" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand create" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand import" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand import" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand import" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand import" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand export" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand export" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand export" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand export" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand rename" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand rename" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand rename" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand rename" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand rename" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand verify" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand verify" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand verify" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand verify" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand distribute" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand distribute" -l dry-run -d 'Only print the commands that would be run'
complete -c p2v -n "__fish_p2v_using_subcommand distribute" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand distribute" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand distribute" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand distribute" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -l kernel -d 'Kernel to build for, as `uname -r` prints it there' -r -f
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -l root -d 'Root to take the kernel\'s modules from' -r -f -a "(__fish_complete_directories)"
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -l output -d 'File to write [default: ./ramboot-VERSION.img]' -r -F
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -l module -d 'Module or alias to include beside those for virtual hardware; may be repeated' -r -f
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -l compress -d 'Compression of the initrd' -r -f -a "zstd\t''
xz\t''
gzip\t''
none\t''"
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -l self-contained -d 'Put the root itself inside, packed: it then boots without any disk'
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -l force -d 'Overwrite FILE'
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand initrd" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l target -d 'The target: the RAM-booted instance\'s name or address [default user: root]' -r -f -a "(__fish_print_hostnames)"
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l port -d 'SSH port of the target' -r
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l identity -d 'Private key that the target knows [default: ssh\'s own choice]' -r -F
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l host-key -d 'Fingerprint of the target\'s host key, as create and the target\'s console say it; may be repeated [default: ask]' -r -f
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l source -d 'Disk, or a disk\'s image, of the source; may be repeated, the one it starts from first [default: every disk of this machine]' -r -F
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l plan -d 'Follow this plan, as --save-plan writes it [default: the source\'s own layout, scaled]' -r -F
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l save-plan -d 'Write the plan to this file, to be edited' -r -F
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l hostname -d 'What becomes of the machine\'s name: kept, or the instance\'s; a plan that is given says it itself' -r -f -a "keep\t''
instance\t''"
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l compress -d 'When contents are compressed on their way; adaptive: when the link is slower than compressing' -r -f -a "adaptive\t''
always\t''
never\t''"
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l progress -d 'How progress is shown: as a bar on standard error (a line every 10 seconds where that is no terminal), or about once a second as JSON on standard output [default: bar; none with --quiet]' -r -f -a "bar\t''
json\t''
none\t''"
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l report-dir -d 'Directory for the report; made if it is missing' -r -f -a "(__fish_complete_directories)"
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l dry-run -d 'Stop before the first write'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l yes -d 'Do not ask before the target\'s disks are erased'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l take-over -d 'End another transfer that is at work on the target; one that works may be lost'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l seed -d 'Only copy; a later run copies what has changed by then, and finishes'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l verify -d 'Compare both sides file by file after the copy'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l no-restart -d 'Leave the target running in RAM at the end'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -l status -d 'Only say how far a transfer to this target came'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand transfer" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand inspect" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand inspect" -l json -d 'Print it as JSON; sizes are in bytes'
complete -c p2v -n "__fish_p2v_using_subcommand inspect" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand inspect" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand inspect" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -f -a "list" -d 'Lists the images with their sizes and ages'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -f -a "build" -d 'Builds what creates of the variants will take from the cache'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -f -a "verify" -d 'Reads images and compares their checksums'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -f -a "prune" -d 'Removes images, and what killed runs left'
complete -c p2v -n "__fish_p2v_using_subcommand image; and not __fish_seen_subcommand_from list build verify prune show" -f -a "show" -d 'Shows all that is known of an image'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from list" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from list" -l json -d 'Print it as JSON; sizes are in bytes, ages in seconds'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from build" -s O -l os-parameter -d 'OS parameter that the creates will be given too; may be repeated' -r
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from build" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from build" -l rebuild -d 'Build it anew where it is there; until it is done, the old one stays'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from build" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from build" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from build" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from verify" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -l older-than -d 'Remove those that are so old; initrds too' -r
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -l keep -d 'Keep the newest ones in any case; alone: remove all others' -r
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -l unused -d 'Remove those that no variant uses'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -l damaged -d 'Remove those that are damaged'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -l dry-run -d 'Only say what would be removed'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from show" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from show" -l json -d 'Print it as JSON; sizes are in bytes, ages in seconds'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand image; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand doctor" -l role -d 'Look at it as this; may be repeated [default: what the machine is]' -r -f -a "node\t''
source\t''
target\t''"
complete -c p2v -n "__fish_p2v_using_subcommand doctor" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand doctor" -l json -d 'Print it as JSON'
complete -c p2v -n "__fish_p2v_using_subcommand doctor" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand doctor" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand agent" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand agent" -l data -d 'Take or compare one volume\'s contents, as the first line says'
complete -c p2v -n "__fish_p2v_using_subcommand agent" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand agent" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand agent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand agent" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -l root -d 'Directory that the transferred system\'s root is mounted on' -r -f -a "(__fish_complete_directories)"
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -l only -d 'Run only this fix, also one that is switched off; --list has the names' -r -f
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -l machine -d 'JSON file that describes the machine [default: this one, as it is found]' -r -F
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -l directory -d 'Directory of the fixes [default: the installed one, or all that are built in]' -r -f -a "(__fish_complete_directories)"
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -l dry-run -d 'Show what would change, as a diff on standard output; change nothing'
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -l list -d 'List the fixes in the order in which they run'
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand fixes" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand fix" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand fix" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand fix" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand fix" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand fix" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand init" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand init" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand init" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand init" -s V -l version -d 'Print version'
complete -c p2v -n "__fish_p2v_using_subcommand ready" -l log-format -d 'Form of the messages on standard error [default: text]' -r -f -a "text\t''
json\t''"
complete -c p2v -n "__fish_p2v_using_subcommand ready" -s q -l quiet -d 'Say only warnings, errors and questions'
complete -c p2v -n "__fish_p2v_using_subcommand ready" -s v -l verbose -d 'Say every command that is run, too'
complete -c p2v -n "__fish_p2v_using_subcommand ready" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c p2v -n "__fish_p2v_using_subcommand ready" -s V -l version -d 'Print version'
