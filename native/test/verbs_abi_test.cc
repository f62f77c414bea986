/** Compiled only: what relay/verbs/abi.h declares is what the header of libibverbs declares. */
#include <infiniband/verbs.h>

#include <cstddef>

#include "relay/verbs/abi.h"

#define SAME_PLACE(Ours, ours, Theirs, theirs) static_assert(offsetof(Ours, ours) == offsetof(Theirs, theirs))
#define SAME_VALUE(ours, theirs) static_assert(static_cast<long>(ours) == static_cast<long>(theirs))

namespace shoal::relay::verbs {

SAME_PLACE(Context, operations, ibv_context, ops);
SAME_PLACE(Context, asyncFd, ibv_context, async_fd);
SAME_PLACE(Context, commandFd, ibv_context, cmd_fd);
SAME_PLACE(Context, completionVectors, ibv_context, num_comp_vectors);

static_assert(sizeof(Operations) == sizeof(ibv_context_ops));
SAME_PLACE(Operations, pollCq, ibv_context_ops, poll_cq);
SAME_PLACE(Operations, requestNotify, ibv_context_ops, req_notify_cq);
SAME_PLACE(Operations, postSend, ibv_context_ops, post_send);
SAME_PLACE(Operations, postReceive, ibv_context_ops, post_recv);

SAME_PLACE(CompletionChannel, fd, ibv_comp_channel, fd);

SAME_PLACE(Qp, sendCq, ibv_qp, send_cq);
SAME_PLACE(Qp, number, ibv_qp, qp_num);

SAME_PLACE(MemoryRegion, localKey, ibv_mr, lkey);
SAME_PLACE(MemoryRegion, remoteKey, ibv_mr, rkey);

static_assert(sizeof(PortAttributes) >= sizeof(ibv_port_attr));
SAME_PLACE(PortAttributes, state, ibv_port_attr, state);
SAME_PLACE(PortAttributes, mtuMax, ibv_port_attr, max_mtu);
SAME_PLACE(PortAttributes, mtuActive, ibv_port_attr, active_mtu);

static_assert(sizeof(ScatterEntry) == sizeof(ibv_sge));
SAME_PLACE(ScatterEntry, length, ibv_sge, length);
SAME_PLACE(ScatterEntry, localKey, ibv_sge, lkey);

static_assert(sizeof(SendRequest) == sizeof(ibv_send_wr));
SAME_PLACE(SendRequest, opcode, ibv_send_wr, opcode);
SAME_PLACE(SendRequest, flags, ibv_send_wr, send_flags);
SAME_PLACE(SendRequest, immediate, ibv_send_wr, imm_data);
SAME_PLACE(SendRequest, remoteAddress, ibv_send_wr, wr.rdma.remote_addr);
SAME_PLACE(SendRequest, remoteKey, ibv_send_wr, wr.rdma.rkey);

static_assert(sizeof(ReceiveRequest) == sizeof(ibv_recv_wr));
SAME_PLACE(ReceiveRequest, entries, ibv_recv_wr, sg_list);
SAME_PLACE(ReceiveRequest, entryCount, ibv_recv_wr, num_sge);

static_assert(sizeof(Completion) == sizeof(ibv_wc));
SAME_PLACE(Completion, status, ibv_wc, status);
SAME_PLACE(Completion, opcode, ibv_wc, opcode);
SAME_PLACE(Completion, byteLength, ibv_wc, byte_len);
SAME_PLACE(Completion, immediate, ibv_wc, imm_data);
SAME_PLACE(Completion, qpNumber, ibv_wc, qp_num);
SAME_PLACE(Completion, flags, ibv_wc, wc_flags);

static_assert(sizeof(QpInitial) == sizeof(ibv_qp_init_attr));
SAME_PLACE(QpInitial, capacity, ibv_qp_init_attr, cap);
SAME_PLACE(QpInitial, type, ibv_qp_init_attr, qp_type);
SAME_PLACE(QpInitial, signalAll, ibv_qp_init_attr, sq_sig_all);

static_assert(sizeof(AddressVector) == sizeof(ibv_ah_attr));
SAME_PLACE(AddressVector, sourceGidIndex, ibv_ah_attr, grh.sgid_index);
SAME_PLACE(AddressVector, hopLimit, ibv_ah_attr, grh.hop_limit);
SAME_PLACE(AddressVector, isGlobal, ibv_ah_attr, is_global);
SAME_PLACE(AddressVector, port, ibv_ah_attr, port_num);

static_assert(sizeof(QpAttributes) == sizeof(ibv_qp_attr));
SAME_PLACE(QpAttributes, address, ibv_qp_attr, ah_attr);
SAME_PLACE(QpAttributes, pathMtu, ibv_qp_attr, path_mtu);
SAME_PLACE(QpAttributes, receivePsn, ibv_qp_attr, rq_psn);
SAME_PLACE(QpAttributes, sendPsn, ibv_qp_attr, sq_psn);
SAME_PLACE(QpAttributes, destination, ibv_qp_attr, dest_qp_num);
SAME_PLACE(QpAttributes, access, ibv_qp_attr, qp_access_flags);
SAME_PLACE(QpAttributes, timeout, ibv_qp_attr, timeout);
SAME_PLACE(QpAttributes, retries, ibv_qp_attr, retry_cnt);
SAME_PLACE(QpAttributes, rnrRetries, ibv_qp_attr, rnr_retry);
SAME_PLACE(QpAttributes, rnrTimer, ibv_qp_attr, min_rnr_timer);
SAME_PLACE(QpAttributes, port, ibv_qp_attr, port_num);
SAME_PLACE(QpAttributes, readsOut, ibv_qp_attr, max_rd_atomic);
SAME_PLACE(QpAttributes, readsIn, ibv_qp_attr, max_dest_rd_atomic);

static_assert(sizeof(AsyncEvent) == sizeof(ibv_async_event));

SAME_VALUE(SendOpcode::writeWithImmediate, IBV_WR_RDMA_WRITE_WITH_IMM);
SAME_VALUE(SendOpcode::send, IBV_WR_SEND);
SAME_VALUE(kSendSignaled, IBV_SEND_SIGNALED);
SAME_VALUE(kSendInline, IBV_SEND_INLINE);
SAME_VALUE(kCompletionReceive, IBV_WC_RECV);
SAME_VALUE(kCompletionReceiveWrite, IBV_WC_RECV_RDMA_WITH_IMM);
SAME_VALUE(kQpReliableConnected, IBV_QPT_RC);
SAME_VALUE(kMaskState, IBV_QP_STATE);
SAME_VALUE(kMaskAccess, IBV_QP_ACCESS_FLAGS);
SAME_VALUE(kMaskPkey, IBV_QP_PKEY_INDEX);
SAME_VALUE(kMaskPort, IBV_QP_PORT);
SAME_VALUE(kMaskAddress, IBV_QP_AV);
SAME_VALUE(kMaskMtu, IBV_QP_PATH_MTU);
SAME_VALUE(kMaskTimeout, IBV_QP_TIMEOUT);
SAME_VALUE(kMaskRetries, IBV_QP_RETRY_CNT);
SAME_VALUE(kMaskRnrRetries, IBV_QP_RNR_RETRY);
SAME_VALUE(kMaskReceivePsn, IBV_QP_RQ_PSN);
SAME_VALUE(kMaskReadsOut, IBV_QP_MAX_QP_RD_ATOMIC);
SAME_VALUE(kMaskRnrTimer, IBV_QP_MIN_RNR_TIMER);
SAME_VALUE(kMaskSendPsn, IBV_QP_SQ_PSN);
SAME_VALUE(kMaskReadsIn, IBV_QP_MAX_DEST_RD_ATOMIC);
SAME_VALUE(kMaskDestination, IBV_QP_DEST_QPN);
SAME_VALUE(QpState::initial, IBV_QPS_INIT);
SAME_VALUE(QpState::readyToReceive, IBV_QPS_RTR);
SAME_VALUE(QpState::readyToSend, IBV_QPS_RTS);
SAME_VALUE(QpState::error, IBV_QPS_ERR);
SAME_VALUE(kAccessLocalWrite, IBV_ACCESS_LOCAL_WRITE);
SAME_VALUE(kAccessRemoteWrite, IBV_ACCESS_REMOTE_WRITE);
SAME_VALUE(AsyncKind::qpAccessError, IBV_EVENT_QP_ACCESS_ERR);
SAME_VALUE(AsyncKind::deviceFatal, IBV_EVENT_DEVICE_FATAL);
SAME_VALUE(AsyncKind::portActive, IBV_EVENT_PORT_ACTIVE);
SAME_VALUE(AsyncKind::portError, IBV_EVENT_PORT_ERR);
SAME_VALUE(AsyncKind::gidChange, IBV_EVENT_GID_CHANGE);

}  // namespace shoal::relay::verbs
