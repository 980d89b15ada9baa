Feature: How nodes come to take part in a chain

  Background:
    Given the application is "devchain"

  Rule: A node may have to fetch the chain from others first

    Background:
      Given the cluster uses cryptarchia security parameter 60

    Scenario: Those that begin the cluster fetch from all that they are told of
      Given we use IBD peers
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to |
        | NODE_1    |               |             |              |
        | NODE_2    |               |             | NODE_1       |
        | NODE_3    |               |             | NODE_2       |
      And all nodes have at least 2 blocks and converged to within 1 blocks in 30 seconds
      When I kill NODE_2
      And I kill NODE_3
      And I start NODE_3
      And I record node "NODE_1" height as "alone"
      And node "NODE_1" reaches 3 blocks beyond recorded height "alone" in 60 seconds
      Then node "NODE_3" is bootstrapping in 5 seconds
      When I start NODE_2
      Then node "NODE_3" is online in 20 seconds
      And all nodes converged to within 1 blocks in 30 seconds

    Scenario: They fetch from those that are named, also when it is said before the names
      Given we use IBD peers
      And I have IBD peers:
        | ibd_peer |
        | NODE_1   |
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to   |
        | NODE_1    |               |             |                |
        | NODE_2    |               |             | NODE_1         |
        | NODE_3    |               |             | NODE_1, NODE_2 |
      And all nodes have at least 2 blocks and converged to within 1 blocks in 30 seconds
      When I kill NODE_1
      And I kill NODE_3
      And I start NODE_3
      And I record node "NODE_2" height as "alone"
      And node "NODE_2" reaches 3 blocks beyond recorded height "alone" in 60 seconds
      Then node "NODE_3" is bootstrapping in 5 seconds
      When I start NODE_1
      Then node "NODE_3" is online in 20 seconds

    Scenario: They fetch from those that are named, also when it is said after the names
      Given I have IBD peers:
        | ibd_peer |
        | NODE_1   |
      And we use IBD peers
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to   |
        | NODE_1    |               |             |                |
        | NODE_2    |               |             | NODE_1         |
        | NODE_3    |               |             | NODE_1, NODE_2 |
      And all nodes have at least 2 blocks and converged to within 1 blocks in 30 seconds
      When I kill NODE_1
      And I kill NODE_3
      And I start NODE_3
      And I record node "NODE_2" height as "alone"
      And node "NODE_2" reaches 3 blocks beyond recorded height "alone" in 60 seconds
      Then node "NODE_3" is bootstrapping in 5 seconds
      When I start NODE_1
      Then node "NODE_3" is online in 20 seconds

  Rule: It takes as long as it should, and no longer

    Scenario: A node waits after its download
      Given the cluster uses prolonged bootstrap period of 2 seconds
      And I have a cluster with capacity of 4 nodes
      When I start node "NODE_1" to be ready between 2 and 30 seconds
      And I start peer node "NODE_2" connected to node "NODE_1" to be ready between 2 and 30 seconds
      And I start peer node "NODE_3" connected to node "NODE_1" and node "NODE_2" to be ready between 2 and 30 seconds
      And I immediate start peer node "NODE_4" connected to node "NODE_1" and node "NODE_2"
      Then I wait for all nodes to be responsive in 20 seconds
      And node "NODE_4" is online in 20 seconds
      And all nodes converged to within 2 blocks in 30 seconds

    Scenario: Too soon and too late are both wrong
      When I run the harness on this feature:
        """
        Feature: Timed
          Background:
            Given the application is "devchain"
            And I have a cluster with capacity of 1 nodes

          Scenario: Too soon
            When I start node "NODE_1" to be ready between 25 and 30 seconds

          Scenario: Too late
            Given the cluster uses prolonged bootstrap period of 60 seconds
            When I start node "NODE_1" to be ready between 0 and 3 seconds
        """
      Then the exit code is 1
      And it prints "which is less than 25s"
      And it prints "for NODE_1 to be online"

  Rule: Nodes find each other as they are told

    Scenario: Two chains become one when a node is told to connect
      Given the cluster uses cryptarchia security parameter 60
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to |
        | NODE_1    |               |             |              |
        | NODE_2    |               |             | NODE_1       |
      And all nodes have at least 1 blocks and converged to within 1 blocks in 30 seconds
      When I start peer node "NODE_3" connected to node "NODE_1"
      And node "NODE_3" is online in 20 seconds
      And I kill NODE_1
      And I record node "NODE_2" height as "apart"
      And node "NODE_2" reaches 2 blocks beyond recorded height "apart" in 60 seconds
      And node "NODE_3" reaches 2 blocks beyond recorded height "apart" in 60 seconds
      Then NODE_2 and NODE_3 are on branches of at least 2 blocks in 60 seconds
      When I connect node "NODE_3" to node "NODE_2" at runtime
      Then node "NODE_3" has at least 1 peers within 10 seconds
      And all nodes converged to within 1 blocks in 30 seconds

  Rule: What all nodes share can be set, as far as there is such a thing

    Scenario: A part of the genesis is another one
      Given I have deployment config override "security_parameter" as "2"
      And a cluster of 2 nodes
      Then all nodes have at least 3 blocks and converged to within 1 blocks in 30 seconds
      And all nodes share the same LIB at or above height 2 in 20 seconds

    Scenario: What the genesis does not have cannot be set
      When I run the harness on this feature:
        """
        Feature: Overrides
          Scenario: A slip of the pen
            Given the application is "devchain"
            And I have deployment config override "securty_parameter" as "2"
            And a cluster of 1 node
        """
      Then the exit code is 1
      And it prints "security_parameter"
