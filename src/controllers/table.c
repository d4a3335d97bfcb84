/* All controllers, in the order they start. */
#include "controllers/controller.h"

extern const struct controller_class namespace_controller, serviceaccount_controller, root_ca_controller,
                deployment_controller, replicaset_controller, replicationcontroller_controller, daemonset_controller,
                statefulset_controller, job_controller, cronjob_controller, endpoints_controller,
                endpointslice_controller, endpointslicemirroring_controller, nodelifecycle_controller,
                tainteviction_controller, nodeipam_controller, podgc_controller, garbagecollector_controller,
                ttlafterfinished_controller, resourcequota_controller, disruption_controller,
                clusterroleaggregation_controller, csrsigning_controller;

const struct controller_class *const controller_table[] = {
        &namespace_controller,
        &serviceaccount_controller,
        &root_ca_controller,
        &deployment_controller,
        &replicaset_controller,
        &replicationcontroller_controller,
        &daemonset_controller,
        &statefulset_controller,
        &job_controller,
        &cronjob_controller,
        &endpoints_controller,
        &endpointslice_controller,
        &endpointslicemirroring_controller,
        &nodelifecycle_controller,
        &tainteviction_controller,
        &nodeipam_controller,
        &podgc_controller,
        &garbagecollector_controller,
        &ttlafterfinished_controller,
        &resourcequota_controller,
        &disruption_controller,
        &clusterroleaggregation_controller,
        &csrsigning_controller,
        NULL,
};
