#!/bin/sh
# One step of a study as one Kubernetes Job; Snakemake calls this. UNTESTED on a cluster.
#   pod.sh submit CORES MEM_MB GPUS SCRIPT      prints the Job's name
#   pod.sh status JOB                           prints running, success or failed
#   pod.sh JOB...                               deletes them
# MIDWAY_IMAGE: an image in which the project's .venv runs   MIDWAY_CLAIM: the shared volume's claim
# MIDWAY_MOUNT: where it is mounted, here and in the pods; the project lies below it
set -eu
case $1 in
submit)
    : "${MIDWAY_IMAGE:?}" "${MIDWAY_CLAIM:?}" "${MIDWAY_MOUNT:?}"
    gpu=
    [ "$4" = 0 ] || gpu=", nvidia.com/gpu: $4"
    name=$(kubectl create -o name -f - <<END
apiVersion: batch/v1
kind: Job
metadata:
  generateName: midway-
  labels: {app: midway}
spec:
  backoffLimit: 0
  ttlSecondsAfterFinished: 86400
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: step
        image: "$MIDWAY_IMAGE"
        workingDir: "$PWD"
        command: [/bin/sh, "$5"]
        env:
        - {name: PYTHONPATH, value: "${PYTHONPATH:-}"}
        - {name: MIDWAY_ROOT, value: "${MIDWAY_ROOT:-}"}
        - {name: MIDWAY_CACHE, value: "${MIDWAY_CACHE:-$MIDWAY_MOUNT/.cache/midway}"}
        - {name: PYTHONUTF8, value: "1"}
        resources:
          requests: {cpu: "$2", memory: "$3Mi"}
          limits: {memory: "$3Mi"$gpu}
        volumeMounts:
        - {name: shared, mountPath: "$MIDWAY_MOUNT"}
      volumes:
      - {name: shared, persistentVolumeClaim: {claimName: "$MIDWAY_CLAIM"}}
END
    )
    echo "${name#job.batch/}"
    ;;
status)
    # What cannot be asked is taken to be running; what is gone has failed.
    form='{.kind}/{.status.succeeded}/{.status.failed}'
    if ! found=$(kubectl get job "$2" --ignore-not-found -o jsonpath="$form"); then
        found=Job//
    fi
    case $found in
    Job//) echo running ;;
    Job/1/*) echo success ;;
    *) echo failed ;;
    esac
    ;;
*)
    exec kubectl delete job --ignore-not-found --wait=false "$@"
    ;;
esac
