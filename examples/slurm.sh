#!/bin/bash
# Trains on several nodes of Slurm, one process per node, until the run is finished:
#
#     sbatch --nodes=4 --gpus-per-node=8 slurm.sh /shared/runs/swin_t --recipe swin --dataset records --data-dir /data
#
# takes the run folder, on storage that all nodes share, and the options of `keras-vit train`. Before the time limit,
# and before a job of higher priority takes the nodes, Slurm sends SIGTERM: the run is saved and the job queued again.
#SBATCH --job-name=keras-vit
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --signal=TERM@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
srun keras-vit train --output "$1" --stopped-status 75 "${@:2}"
status=$?
if [ $status = 75 ]; then # saved before its end
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
