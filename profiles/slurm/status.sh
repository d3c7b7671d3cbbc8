# What became of a job of Slurm, for Snakemake's executor cluster-generic: sh status.sh <number>
state=$(squeue --noheader --states=all --format=%T --job "$1") || exit 1
case $state in
    COMPLETED) echo success ;;
    PENDING | CONFIGURING | RUNNING | SUSPENDED | COMPLETING | REQUEUED) echo running ;;
    *) echo failed ;;
esac
